package templates

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// gatewayRoutes sends each request to the upstream with the most specific match: first by host, a full name before
// "*.", and the longer of two of those, and then by the longer path. Envoy looks only into the group of routes of the
// host that fits best, so each group ends with the routes of all hosts that also fit. What matches nothing gets 404.
func (p envoy) gatewayRoutes() *routev3.RouteConfiguration {
	byHost := map[string][]ir.Match{}
	for _, up := range p.Upstreams {
		if !up.Match.IsZero() {
			byHost[up.Match.Host()] = append(byHost[up.Match.Host()], up.Match)
		}
	}
	routes := &routev3.RouteConfiguration{IgnorePortInHostMatching: true}
	for _, host := range hosts(byHost) {
		group := &routev3.VirtualHost{Name: host, Domains: []string{host, host + "."}}
		if host == "" {
			group.Name, group.Domains = "*", []string{"*"}
		}
		for _, match := range fitting(byHost, host) {
			group.Routes = append(group.Routes, routeTo(match))
			if match.PathPrefix() == "/" {
				break // nothing is left for the others
			}
		}
		routes.VirtualHosts = append(routes.VirtualHosts, group)
	}
	p.leaveMesh(routes)
	return p.withstandRequests(routes)
}

// fitting are all matches that may be meant by a request for host, the most specific first.
func fitting(byHost map[string][]ir.Match, host string) []ir.Match {
	var out []ir.Match
	for _, also := range hosts(byHost) {
		if covers(also, host) {
			slices.SortFunc(byHost[also], compareMatches)
			out = append(out, byHost[also]...)
		}
	}
	return out
}

// hosts are the hosts of all matches, the most specific first.
func hosts(byHost map[string][]ir.Match) []string {
	var out []string
	for host := range byHost {
		out = append(out, host)
	}
	slices.SortFunc(out, compareHosts)
	return out
}

// compareHosts puts full names first, then the longer of those with "*.", and any host last.
func compareHosts(a, b string) int {
	wild := func(host string) bool { return host == "" || strings.HasPrefix(host, "*.") }
	switch {
	case wild(a) != wild(b):
		if wild(b) {
			return -1
		}
		return 1
	case len(a) != len(b):
		return len(b) - len(a)
	}
	return strings.Compare(a, b)
}

// covers says whether every request for host, itself a pattern, is also one for pattern.
func covers(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok && host != "" {
		return strings.HasSuffix(strings.TrimPrefix(host, "*"), suffix)
	}
	return pattern == "" || pattern == host
}

func routeTo(match ir.Match) *routev3.Route {
	path := &routev3.RouteMatch{
		PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: match.PathPrefix()},
	}
	if match.PathPrefix() == "/" {
		path = anyPath()
	}
	return &routev3.Route{Match: path, Action: &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: upstreamCluster(ir.Upstream{Match: match})},
		Timeout:          lasting(0),
	}}}
}

// compareMatches puts the more specific path first. It orders the routes of one host: hosts are told apart before.
func compareMatches(a, b ir.Match) int {
	return cmp.Or(
		cmp.Compare(len(b.PathPrefix()), len(a.PathPrefix())),
		cmp.Compare(a.PathPrefix(), b.PathPrefix()),
		cmp.Compare(a.Host(), b.Host()),
	)
}

// routesOf are the routes that lead to an upstream.
func routesOf(routes *routev3.RouteConfiguration, up ir.Upstream) iter.Seq[*routev3.Route] {
	return func(yield func(*routev3.Route) bool) {
		for _, host := range routes.VirtualHosts {
			for _, route := range host.Routes {
				if route.GetRoute().GetCluster() == upstreamCluster(up) && !yield(route) {
					return
				}
			}
		}
	}
}
