package templates

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// ownStreams makes a message that HTTP/2 does not allow end its own stream and not, as is Envoy's default, the
// connection, which carries requests of many callers.
func ownStreams(options *corev3.Http2ProtocolOptions) *corev3.Http2ProtocolOptions {
	options.OverrideStreamErrorOnInvalidHttpMessage = yes()
	return options
}

// takesUpgrades makes a server take upgrades to WebSocket, which are a CONNECT in HTTP/2 (RFC 8441).
func takesUpgrades(server *corev3.Http2ProtocolOptions) *corev3.Http2ProtocolOptions {
	server.AllowConnect = true
	return server
}

// authority is a host and a port, of the signs that HTTP/2 allows there and names have: there is no user and no list.
const authority = `[\w.~%:\[\]-]+`

// refuseOddHosts answers 400 to requests whose Host is no [authority], where they may come from anybody, or are sent on
// over HTTP/2. It is in the virtual hosts that have a pattern: no other has odd hosts.
func refuseOddHosts(in ir.Inbound, routes *routev3.RouteConfiguration) {
	if in.App != 0 && !in.Public() && !in.Protocol.IsHTTP2() {
		return
	}
	notAuthority := headerMatches(":authority", authority)
	notAuthority.InvertMatch = true
	odd := &routev3.Route{
		Match:  anyPath(notAuthority),
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
