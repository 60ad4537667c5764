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
	// namesListener is the same for names that the app calls, each at an address of its own.
	namesListener = "names"
	// clusterHeader carries the cluster from the listener to the route, and no further.
	clusterHeader = "x-spire-injector-cluster"
)

// outbound are the listeners for the app, on 127.0.0.1 and at the addresses of names.
func (p envoy) outbound() []*listenerv3.Listener {
	var out []*listenerv3.Listener
	requests := map[requestListener]*listenerv3.Listener{}
	for _, up := range p.Upstreams {
		address, of := socketAddress(up.Socket()), listenerOf(up)
		switch {
		case !up.Match.IsZero():
		case up.Protocol == ir.TCP:
			out = append(out, p.tcpUpstream(up))
		case requests[of] == nil:
			requests[of] = p.servedBy(of).httpUpstreams(of, address)
			out = append(out, requests[of])
		default:
			requests[of].AdditionalAddresses = append(requests[of].AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address})
		}
		out = append(out, passedThrough(up)...)
	}
	return append(out, p.restListener()...)
}

// requestListener is a listener that serves the app on the ports of several upstreams that carry requests.
type requestListener struct {
	name   string
	socket string // what of the socket that the app has connected to says which upstream it is, after [upstreamPrefix]
}

// listenerOf is that of an upstream. Ports of 127.0.0.1 are there once, those of names several times.
func listenerOf(up ir.Upstream) requestListener {
	if up.Name.IsZero() {
		return requestListener{upstreamsListener, "%DOWNSTREAM_LOCAL_PORT%"}
	}
	return requestListener{namesListener, "%DOWNSTREAM_LOCAL_ADDRESS%"}
}

// servedBy is the proxy with those upstreams alone that a listener serves.
func (p envoy) servedBy(listener requestListener) envoy {
	var served []ir.Upstream
	for _, up := range p.Upstreams {
		if up.Match.IsZero() && up.Protocol != ir.TCP && listenerOf(up) == listener {
			served = append(served, up)
		}
	}
	p.Upstreams = served
	return p
}

func (p envoy) httpUpstreams(listener requestListener, first *corev3.Address) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:             listener.name,
		Address:          first,
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{
			{
				Filters:  []*listenerv3.Filter{networkFilter(hcmFilter, p.upstreamHTTP(listener))},
				Metadata: withRefused(nil, p.refusedUpstreams(func(ir.Upstream) bool { return true })),
			},
		},
	}
}

// upstreamHTTP serves the app. AUTO also takes HTTP/2 without TLS, recognised by its preface. The socket that the app has
// connected to says which cluster a request goes to, whatever its headers say.
func (p envoy) upstreamHTTP(listener requestListener) *hcmv3.HttpConnectionManager {
	manager := transparentHTTP(listener.name, &routev3.RouteConfiguration{
		VirtualHosts: []*routev3.VirtualHost{{
			Name: listener.name, Domains: []string{"*"}, RequestHeadersToRemove: []string{clusterHeader},
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
				Header:       &corev3.HeaderValue{Key: clusterHeader, Value: upstreamPrefix + listener.socket},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}, startsTLS()}}),
	}}
	manager.AccessLog = []*accesslogv3.AccessLog{upstreamRequestLog(listener)}
	manager.HttpFilters = []*hcmv3.HttpFilter{router()}
	p.callForLife(manager)
	p.traceOutbound(manager)
	p.replaceHost(manager.GetRouteConfig(), listener)
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
		Address:          socketAddress(up.Socket()),
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
