package templates

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	internallistenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	internalupstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Envoy has one longest time for all TCP connections of a filter chain. A connection whose caller's certificate ends
// before that makes a detour inside of Envoy, by a listener that nobody else reaches. Its chains differ in their longest
// time, which is their name.
//
//	inbound_9000 ──┬──────────────────────────────► app_9001   the certificate lasts for connectionLife or longer
//	               └──► early_9000, chain "256" ──► app_9001   it lasts for 256 to 1023 seconds
//
// The way is chosen after the handshake, when the caller is known. The detour is the one that needs no choice: there a
// connection is closed of which Envoy cannot tell when the certificate ends. Who called is known and logged where the
// connection came in, and the end of that one ends the other.

const (
	// leftKey is where a connection keeps for how many seconds its caller's certificate lasted when it began, and lifeKey
	// for how many it may last itself, if it makes the detour.
	leftKey = "left"
	lifeKey = "life"
	// tcpCluster is where tcp_proxy looks for the cluster of one connection.
	tcpCluster = "envoy.tcp_proxy.cluster"
	// chooseAfterHandshake has tcp_proxy look there when it connects. Otherwise it does before the handshake.
	chooseAfterHandshake = "envoy.reloadable_features.tcp_proxy_delay_route_selection"
)

// earlyName is the name of the listener and the cluster of the detour.
func earlyName(in ir.Inbound) string { return fmt.Sprintf("early_%d", in.Listen) }

// endsEarly says whether connections to the port end with their callers' certificates.
func (p envoy) endsEarly(in ir.Inbound) bool {
	return p.TCPDeadlines && !p.UnboundedStreams && in.ServesTCPPeers()
}

// earlyLives are for how many seconds connections may last on the detour, the longest first: powers of four, which leave
// each at least a quarter of its caller's certificate, and one more for callers whose SVID was renewed a little late.
// Every pod with such a port carries all of them in its annotations.
func (p envoy) earlyLives() []int {
	longest := int(p.connectionLife()/time.Second) * 7 / 8
	var lives []int
	for life := 1; life <= max(longest, 1); life *= 4 {
		lives = append([]int{life}, lives...)
	}
	if lives[0] < longest {
		lives = append([]int{longest}, lives...)
	}
	return lives
}

// allowTCPDeadlines has the bootstrap say what they need.
func (p envoy) allowTCPDeadlines(bootstrap *bootstrapv3.Bootstrap) *bootstrapv3.Bootstrap {
	if !p.TCPDeadlines {
		return bootstrap
	}
	bootstrap.BootstrapExtensions = []*corev3.TypedExtensionConfig{{
		Name:        "internal_listener",
		TypedConfig: pack(&internallistenerv3.InternalListener{BufferSizeKb: count(connectionBuffer >> 10)}),
	}}
	bootstrap.LayeredRuntime = &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
		Name: "static",
		LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{Fields: map[string]*structpb.Value{
			chooseAfterHandshake: structpb.NewBoolValue(true),
		}}},
	}}}
	return bootstrap
}

// chooseLife finds out, when the caller is known, how long a connection may last and which way it goes. Times are
// rounded such that it ends early.
func (p envoy) chooseLife(in ir.Inbound) *listenerv3.Filter {
	left := "int(string(filter_state." + leftKey + "))"
	var lives strings.Builder
	for _, life := range p.earlyLives() {
		_, _ = fmt.Fprintf(&lives, "%s>=%d?%d:", left, life, life)
	}
	// In the log it says why a connection ended: Envoy does not know that of what another listener of its own has ended.
	lasts := fmt.Sprintf("%s>=%d", left, (p.connectionLife()+time.Second-1)/time.Second)
	life := connectionState(lifeKey, "%CEL("+lasts+`?"":`+lives.String()+"0)%", bytesAsStrings())
	life.SharedWithUpstream, life.SkipIfEmpty = filterstatev3.FilterStateValue_ONCE, true
	// Connections of different lives must not share one pool inside of Envoy.
	life.FactoryKey = "envoy.hashable_string"
	direct := fmt.Sprintf(`%%CEL(%s?"%s":"")%%`, lasts, appCluster(in))
	way := connectionState(tcpCluster, direct, bytesAsStrings())
	way.FactoryKey, way.SkipIfEmpty = "", true
	return networkFilter("life", &setfilterstatev3.Config{OnDownstreamTlsHandshake: []*filterstatev3.FilterStateValue{
		connectionState(peerEndKey, "%DOWNSTREAM_PEER_CERT_V_END(%s)%"),
		connectionState(leftKey, "%CEL(int(string(filter_state."+peerEndKey+"))-int(request.time)-1)%", bytesAsStrings()),
		life, way,
	}})
}

// earlyCluster is the way to the detour of a port.
func earlyCluster(in ir.Inbound) *clusterv3.Cluster {
	name := earlyName(in)
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		CircuitBreakers:      unlimited(),
		LoadAssignment: endpoints(name, &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{
			EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
				AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: name},
			},
		}}),
		// It takes what the connection keeps along.
		TransportSocket: &corev3.TransportSocket{
			Name: "internal_upstream",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&internalupstreamv3.InternalUpstreamTransport{
				TransportSocket: &corev3.TransportSocket{
					Name:       "raw_buffer",
					ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&rawbufferv3.RawBuffer{})},
				},
			})},
		},
	}
}

// earlyListener has a chain for each of [envoy.earlyLives]. What has no life that is one of them is closed.
func (p envoy) earlyListener(in ir.Inbound) *listenerv3.Listener {
	listener := &listenerv3.Listener{
		Name: earlyName(in),
		ListenerSpecifier: &listenerv3.Listener_InternalListener{
			InternalListener: &listenerv3.Listener_InternalListenerConfig{},
		},
	}
	chains := map[string]*xdsmatcherv3.Matcher_OnMatch{}
	for _, life := range p.earlyLives() {
		name := strconv.Itoa(life)
		tcp := transparentTCP(earlyName(in), appCluster(in))
		tcp.MaxDownstreamConnectionDuration = lasting(time.Duration(life) * time.Second)
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name:    name,
			Filters: []*listenerv3.Filter{networkFilter(tcpFilter, tcp)},
		})
		chains[name] = &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: matcherExtension(lifeKey, wrapperspb.String(name)),
		}}
	}
	listener.FilterChainMatcher = &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{
		MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
			Input: matcherExtension(lifeKey, &inputsv3.FilterStateInput{Key: lifeKey}),
			TreeType: &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{
				ExactMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: chains},
			},
		},
	}}
	return listener
}

func matcherExtension(name string, config proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: pack(config)}
}
