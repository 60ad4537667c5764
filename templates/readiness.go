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
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// Envoy calls itself ready also when it has rejected its listeners. So readiness is asked of the data ports
// themselves: Envoy connects to each, and GET /ready says whether all of them answered.

const (
	readinessName = "readiness"
	ownPorts      = "own_ports"
	// readinessSource is the address that those connections come from, so that a port which would pass a
	// connection on can tell them from the app's.
	readinessSource = "127.0.0.2"
)

func readinessListener() *listenerv3.Listener {
	is := func(header, value string) *routev3.HeaderMatcher {
		return &routev3.HeaderMatcher{Name: header, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
			StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}},
		}}
	}
	return &listenerv3.Listener{
		Name:    readinessName,
		Address: socketAddress("0.0.0.0", ReadinessPort),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{networkFilter(hcmFilter, &hcmv3.HttpConnectionManager{
				StatPrefix: readinessName,
				RouteSpecifier: routes(readinessName, &routev3.Route{
					Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
					Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
				}),
				HttpFilters: []*hcmv3.HttpFilter{
					httpFilter("envoy.filters.http.health_check", &healthcheckv3.HealthCheck{
						PassThroughMode:              no(),
						Headers:                      []*routev3.HeaderMatcher{is(":method", "GET"), is(":path", ReadinessPath)},
						ClusterMinHealthyPercentages: map[string]*typev3.Percent{ownPorts: {Value: 100}},
					}),
					router(),
				},
			})},
		}},
	}
}

// ownPortsCluster checks every data port: ten times a second until it answers, then every 5 s. The checks
// that count are those "without traffic", because the cluster never has any.
func (p Proxy) ownPortsCluster() *clusterv3.Cluster {
	var addresses []*corev3.Address
	for _, in := range p.Inbound {
		addresses = append(addresses, socketAddress("127.0.0.1", in.Listen))
	}
	for _, up := range p.Upstreams {
		addresses = append(addresses, socketAddress("127.0.0.1", up.Listen))
	}
	const often, seldom = 100 * time.Millisecond, 5 * time.Second
	return &clusterv3.Cluster{
		Name:                 ownPorts,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       lasting(time.Second),
		LoadAssignment:       endpoints(ownPorts, addresses...),
		UpstreamBindConfig: &corev3.BindConfig{SourceAddress: &corev3.SocketAddress{
			Address:       readinessSource,
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
		}},
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
		Filters: []*listenerv3.Filter{networkFilter("envoy.filters.network.direct_response", &directresponsev3.Config{})},
	}
}
