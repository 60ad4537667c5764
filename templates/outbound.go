package templates

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	// upstreamsListener serves the app on the ports of all upstreams that carry requests. One listener with many
	// addresses is a third of the text of many listeners, and the annotations of a pod are bounded.
	upstreamsListener = "upstreams"
	// clusterHeader carries the cluster from the listener to the route, and no further.
	clusterHeader = "x-spire-injector-cluster"
)

// outbound are the listeners for the app on 127.0.0.1.
func (p envoy) outbound() []*listenerv3.Listener {
	var out []*listenerv3.Listener
	var requests *listenerv3.Listener
	for _, up := range p.Upstreams {
		switch address := socketAddress("127.0.0.1", up.Listen); {
		case !up.Match.IsZero():
		case up.Protocol == ir.TCP:
			out = append(out, p.tcpUpstream(up))
		case requests == nil:
			requests = p.httpUpstreams(address)
			out = append(out, requests)
		default:
			requests.AdditionalAddresses = append(requests.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address})
		}
	}
	return out
}

func (p envoy) httpUpstreams(first *corev3.Address) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:             upstreamsListener,
		Address:          first,
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{
			{
				Filters:  []*listenerv3.Filter{networkFilter(hcmFilter, p.upstreamHTTP())},
				Metadata: withRefused(nil, p.refusedUpstreams(func(up ir.Upstream) bool { return up.Protocol != ir.TCP })),
			},
		},
	}
}

// upstreamHTTP serves the app. AUTO also takes HTTP/2 without TLS, recognised by its preface. The port that the app has
// connected to says which cluster a request goes to, whatever its headers say.
func (p envoy) upstreamHTTP() *hcmv3.HttpConnectionManager {
	manager := transparentHTTP(upstreamsListener, &routev3.RouteConfiguration{
		VirtualHosts: []*routev3.VirtualHost{{
			Name: upstreamsListener, Domains: []string{"*"}, RequestHeadersToRemove: []string{clusterHeader},
			Routes: []*routev3.Route{{
				Match: anyPath(),
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_ClusterHeader{ClusterHeader: clusterHeader},
					Timeout:          lasting(0),
				}},
			}},
		}},
	})
	manager.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{{
		Name: "cluster",
		TypedConfig: pack(&earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{{
			Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: clusterHeader, Value: upstreamPrefix + "%DOWNSTREAM_LOCAL_PORT%"},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}, startsTLS()}}),
	}}
	manager.AccessLog = []*accesslogv3.AccessLog{upstreamRequestLog()}
	manager.HttpFilters = []*hcmv3.HttpFilter{router()}
	p.callForLife(manager)
	p.traceOutbound(manager)
	p.replaceHost(manager.GetRouteConfig())
	p.withstandRequests(manager.GetRouteConfig())
	return manager
}

func (p envoy) tcpUpstream(up ir.Upstream) *listenerv3.Listener {
	name := upstreamCluster(up)
	tcp := transparentTCP(name, name)
	if showsSVID(up) {
		p.tcpForLife(tcp)
	}
	tcp.AccessLog = []*accesslogv3.AccessLog{upstreamConnectionLog(name)}
	withstandConnections(tcp, up.Resilience)
	return &listenerv3.Listener{
		Name:             name,
		Address:          socketAddress("127.0.0.1", up.Listen),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{
			readinessProbeChain(),
			{
				Name:    name,
				Filters: []*listenerv3.Filter{networkFilter(tcpFilter, tcp)},
				// Not read by any filter. It makes a changed peer list change the listener too, which
				// drains the open streams; replacing the cluster alone would let them live on.
				Metadata: withRefused(calledMetadata(up), up.Refused),
			},
		},
	}
}
