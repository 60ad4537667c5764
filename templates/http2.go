package templates

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// ownStreams are the options of HTTP/2 on either side. Requests of many callers share a connection, so a message that
// HTTP/2 does not allow ends its own stream and not, as is Envoy's default, the connection.
func ownStreams() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{OverrideStreamErrorOnInvalidHttpMessage: yes()}
}

// ownStreamsAndUpgrades also takes an upgrade to WebSocket, which is a CONNECT in HTTP/2 (RFC 8441).
func ownStreamsAndUpgrades() *corev3.Http2ProtocolOptions {
	options := ownStreams()
	options.AllowConnect = true
	return options
}

// authority is a host and a port, of the signs that HTTP/2 allows there and names have: there is no user and no list.
const authority = `[\w.~%:\[\]-]+`

// refuseOddHosts answers 400 to requests whose Host is no [authority], where they may come from anybody, or are sent on
// over HTTP/2. It is in the virtual hosts that have a pattern: no other has odd hosts.
func refuseOddHosts(in ir.Inbound, routes *routev3.RouteConfiguration) {
	if in.App != 0 && !in.Public() && !in.Protocol.IsHTTP2() {
		return
	}
	odd := &routev3.Route{
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"},
			Headers: []*routev3.HeaderMatcher{{
				Name: ":authority",
				HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
					MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: authority}},
				}},
				InvertMatch: true,
			}},
		},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 400}},
	}
	for _, host := range routes.VirtualHosts {
		if strings.HasPrefix(host.Domains[0], "*") {
			host.Routes = append([]*routev3.Route{odd}, host.Routes...)
		}
	}
	last := routes.VirtualHosts[len(routes.VirtualHosts)-1]
	if last.Domains[0] != "*" {
		routes.VirtualHosts = append(routes.VirtualHosts,
			&routev3.VirtualHost{Name: "*", Domains: []string{"*"}, Routes: []*routev3.Route{odd}})
	}
}
