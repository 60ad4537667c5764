package templates

import (
	"fmt"
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// noAddress is no URL, so that a client which is redirected there reports an error.
const noAddress = ":"

// forKubelet completes a listener of probes or hooks.
func forKubelet(l *listenerv3.Listener, port uint16) *listenerv3.Listener {
	return withManager(l, func(manager *hcmv3.HttpConnectionManager) {
		manager.StripMatchingHostPort = true // for hostOfApp
		// One route answers here; where there are others, they lead to the app.
		if len(manager.GetRouteConfig().GetVirtualHosts()[0].GetRoutes()) > 1 {
			manager.EarlyHeaderMutationExtensions = notWritten()
			manager.HttpFilters = slices.Insert(manager.HttpFilters, len(manager.HttpFilters)-1, noTrailers())
		}
		if port == ir.HookPort {
			answersByAppAlone(manager)
		}
	})
}

// hostOfApp is the Host of a request, whose port is gone if it was that of the listener, with the app's port: what the
// kubelet would send to the app itself.
func hostOfApp(pr ir.Probe, action *routev3.RouteAction) {
	if !pr.OwnHost {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewrite{
			HostRewrite: fmt.Sprintf("%%REQ(:authority)%%:%d", pr.App),
		}
	}
}

// answersByAppAlone is for hooks. To the kubelet every answer to a hook is a success, whatever its status: where the app
// does not answer, neither must Envoy. It cannot end a connection without an answer, but its own answers can redirect to
// what is no address, which the kubelet takes for an error.
func answersByAppAlone(manager *hcmv3.HttpConnectionManager) {
	manager.StreamIdleTimeout = lasting(0) // a hook may take as long as the pod gives it
	manager.LocalReplyConfig = &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
			StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
				Op:    accesslogv3.ComparisonFilter_GE,
				Value: &corev3.RuntimeUInt32{DefaultValue: 400, RuntimeKey: "hook"},
			}},
		}},
		StatusCode:   count(302),
		HeadersToAdd: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "location", Value: noAddress}}},
	}}}
}

// withManager is a listener with another connection manager in its only filter chain.
func withManager(l *listenerv3.Listener, change func(*hcmv3.HttpConnectionManager)) *listenerv3.Listener {
	filter := l.FilterChains[0].Filters[0]
	manager := &hcmv3.HttpConnectionManager{}
	if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
		panic(fmt.Sprintf("unpack the manager of %s: %v", l.Name, err)) // cannot fail: it is one that we packed
	}
	change(manager)
	l.FilterChains[0].Filters[0] = networkFilter(filter.Name, manager)
	return l
}
