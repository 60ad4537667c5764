package templates

import (
	"regexp"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// The app calls 127.0.0.1, which is no Host that means anything to the callee. The cluster knows the callee's, so that
// one route serves all upstreams. An app that writes another Host means it.

// loopbackHosts are what clients write for a port of their own pod.
func loopbackHosts() []string {
	return []string{"127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*"}
}

// replaceHost adds to the routes of all upstreams, which keep the Host, those that replace it: for all requests of
// upstreams with a Host of their own, and for those of the others that the app sent to itself. What it sends to a name
// is for that name.
func (p envoy) replaceHost(routes *routev3.RouteConfiguration, listener requestListener) {
	all := routes.VirtualHosts[0]
	if listener.name != namesListener {
		loopback := proto.CloneOf(all)
		loopback.Name, loopback.Domains = "loopback", loopbackHosts()
		for _, route := range loopback.Routes {
			takeClustersHost(route)
		}
		routes.VirtualHosts = append(routes.VirtualHosts, loopback)
	}
	sockets := p.socketsWithHost()
	if sockets == "" {
		return
	}
	var always []*routev3.Route
	for _, route := range all.Routes {
		route := proto.CloneOf(route)
		takeClustersHost(route)
		route.Match.Headers = append(route.Match.Headers, headerMatches(clusterHeader, upstreamPrefix+"("+sockets+")"))
		always = append(always, route)
	}
	all.Routes = append(always, all.Routes...)
}

func takeClustersHost(route *routev3.Route) {
	if action := route.GetRoute(); action != nil {
		action.HostRewriteSpecifier = &routev3.RouteAction_AutoHostRewrite{AutoHostRewrite: wrapperspb.Bool(true)}
	}
}

// socketsWithHost are those of upstreams that have a Host of their own, as alternatives of a pattern.
func (p envoy) socketsWithHost() string {
	var sockets []string
	for _, up := range p.Upstreams {
		if up.Match.IsZero() && up.Host != "" {
			sockets = append(sockets, regexp.QuoteMeta(strings.TrimPrefix(upstreamCluster(up), upstreamPrefix)))
		}
	}
	return strings.Join(sockets, "|")
}

// routeHosts writes the Host of those upstreams of a gateway that have one; the others get that of the client.
func (p envoy) routeHosts(routes *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	for _, up := range p.Upstreams {
		if up.Host == "" {
			continue
		}
		for route := range routesOf(routes, up) {
			rewriteHost(route, up.Host)
		}
	}
	return routes
}

// rewriteHost makes all requests of a route say this in Host.
func rewriteHost(route *routev3.Route, host string) {
	route.GetRoute().HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
}

// nameHost writes the Host of an upstream that the app calls where it is not what Envoy looks up.
func (p envoy) nameHost(cluster *clusterv3.Cluster, up ir.Upstream) {
	if !up.Name.IsZero() && up.Host == "" {
		return // it is what the app wrote
	}
	if !up.Match.IsZero() || up.Protocol == ir.TCP || up.SentHost() == p.LookedUp(up.Address) && !up.Address.IsIP() {
		return
	}
	for _, group := range cluster.LoadAssignment.Endpoints {
		for _, each := range group.LbEndpoints {
			each.GetEndpoint().Hostname = up.SentHost()
		}
	}
}
