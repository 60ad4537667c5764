package templates

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	directresponsev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Envoy calls itself ready also when it has rejected its listeners. So readiness is asked of the data ports themselves:
// Envoy connects to each, and GET /ready says whether all of them answered. GET /ready/app also asks the app's ports
// behind them.

const (
	readinessName = "readiness"
	ownPorts      = "own_ports"
	appPorts      = "app_ports"
	// readinessSource is the address that those connections come from, so that a port which would pass a
	// connection on can tell them from the app's.
	readinessSource = "127.0.0.2"
)

func (p envoy) readinessListener() *listenerv3.Listener {
	withApp := []string{ownPorts}
	if len(p.appAddresses()) > 0 {
		withApp = append(withApp, appPorts)
	}
	if len(portsOnPodIP(p.Proxy)) > 0 {
		withApp = append(withApp, podApps)
	}
	return answering(
		readinessName,
		ir.ReadinessPort,
		p.saysWhatIsMissing(),
		[]*routev3.Route{updatesRoute()},
		healthAnswer(ReadinessPath, ownPorts),
		healthAnswer(AppReadinessPath, withApp...),
	)
}

// answering is a listener for questions from outside, which are not logged. It has the given routes and answers, and
// 404 for everything else. What is said with errors, if anything, is in errors.
func answering(
	name string, port uint16, errors *hcmv3.LocalReplyConfig, routes []*routev3.Route, answers ...*hcmv3.HttpFilter,
) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:    name,
		Address: socketAddress("0.0.0.0", port),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{networkFilter(hcmFilter, &hcmv3.HttpConnectionManager{
				StatPrefix:          name,
				HttpProtocolOptions: answersHTTP10(),
				RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
					VirtualHosts:     []*routev3.VirtualHost{{Name: name, Domains: []string{"*"}, Routes: append(routes, notFound())}},
					ValidateClusters: no(),
				}},
				Http2ProtocolOptions: http2Server(),
				// What is asked for is compared as it comes, and no mark of Envoy is added to it.
				GenerateRequestId: no(),
				HttpFilters:       append(answers, router()),
				LocalReplyConfig:  errors,
			})},
		}},
	}
}

func notFound() *routev3.Route {
	return &routev3.Route{
		Match:  anyPath(),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
	}
}

// healthAnswer answers GET path: 200 when all endpoints of the clusters answer, else 503.
func healthAnswer(path string, clusters ...string) *hcmv3.HttpFilter {
	all := map[string]*typev3.Percent{}
	for _, cluster := range clusters {
		all[cluster] = &typev3.Percent{Value: 100}
	}
	return httpFilter("health_check", &healthcheckv3.HealthCheck{
		PassThroughMode:              no(),
		Headers:                      asks("GET", path),
		ClusterMinHealthyPercentages: all,
	})
}

func (p envoy) readinessClusters() []*clusterv3.Cluster {
	own := tcpChecked(ownPorts, p.ownAddresses()...)
	own.UpstreamBindConfig = &corev3.BindConfig{SourceAddress: &corev3.SocketAddress{
		Address:       readinessSource,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
	}}
	out := []*clusterv3.Cluster{own}
	if app := p.appAddresses(); len(app) > 0 {
		out = append(out, tcpChecked(appPorts, app...))
	}
	return out
}

// ownAddresses has one address of each data listener: the addresses of a listener are there all together or not at all.
func (p envoy) ownAddresses() []*corev3.Address {
	var out []*corev3.Address
	for _, in := range p.Inbound {
		out = append(out, socketAddress("127.0.0.1", in.Listen))
	}
	requests := map[requestListener]bool{} // whether the listener that upstreams share is there already
	for _, up := range p.Upstreams {
		switch shared, of := up.Protocol != ir.TCP, listenerOf(up); {
		case !up.Match.IsZero():
		case !shared || !requests[of]:
			out = append(out, socketAddress(up.Socket()))
			requests[of] = requests[of] || shared
		}
		for _, port := range up.Passthrough {
			out = append(out, socketAddress(up.Loopback, port))
		}
	}
	if p.RestOfNames != 0 {
		out = append(out, socketAddress("127.0.0.1", p.RestOfNames))
	}
	return out
}

// appAddresses are those of the app on loopback. Those on the address of the pod are in [PodIPArgs].
func (p envoy) appAddresses() []*corev3.Address {
	var out []*corev3.Address
	seen := map[uint16]bool{0: true}
	for _, in := range p.Inbound {
		if !seen[in.App] && in.AppHost != ir.PodIP {
			seen[in.App] = true
			out = append(out, socketAddress(in.AppHost.IP(), in.App))
		}
	}
	return out
}

// tcpChecked connects to every address: ten times a second until it answers, then every 5 s. The checks
// that count are those "without traffic", because the cluster never has any.
func tcpChecked(name string, addresses ...*corev3.Address) *clusterv3.Cluster {
	const often, seldom = 100 * time.Millisecond, 5 * time.Second
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       lasting(time.Second),
		LoadAssignment:       endpoints(name, addresses...),
		HealthChecks: []*corev3.HealthCheck{{
			Timeout:                  lasting(time.Second),
			Interval:                 lasting(seldom),
			NoTrafficInterval:        lasting(often),
			NoTrafficHealthyInterval: lasting(seldom),
			UnhealthyThreshold:       count(1),
			HealthyThreshold:         count(1),
			ReuseConnection:          no(),
			HealthChecker:            &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}},
		}},
	}
}

// readinessProbeChain ends readiness connections at a TCP port. Without it each would open one to the
// upstream, which may count it as a failed log-in.
func readinessProbeChain() *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name: readinessName,
		FilterChainMatch: &listenerv3.FilterChainMatch{
			SourcePrefixRanges: []*corev3.CidrRange{{AddressPrefix: readinessSource, PrefixLen: count(32)}},
		},
		Filters: []*listenerv3.Filter{networkFilter("direct_response", &directresponsev3.Config{})},
	}
}
