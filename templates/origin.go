package templates

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Where a request came from stands in X-Forwarded-For, to which each Envoy at an inbound port adds the address of its
// caller, and X-Forwarded-Proto, which is that of the client's own connection: only who ends it knows, and the others
// hand it on.

const forwardedProtoHeader = "x-forwarded-proto"

// origin decides whose word is taken for where a request came from.
func origin(manager *hcmv3.HttpConnectionManager, in ir.Inbound) {
	manager.UseRemoteAddress = yes()
	manager.XffNumTrustedHops = trustedHops(in)
	// Envoy says the same in a header of its own.
	manager.GetRouteConfig().RequestHeadersToRemove = []string{"x-envoy-external-address"}
	if in.App != 0 && in.Protocol.IsHTTP2() {
		// The scheme of HTTP/2 is that of the connection to the app, which some servers insist on.
		manager.SchemeHeaderTransformation = &corev3.SchemeHeaderTransformation{MatchUpstream: true}
	}
}

// trustedHops is how many proxies before a port are believed. Peers are: what they send is what their app, or the end
// of TLS before them, wrote. A permissive port is on its way to have peers alone.
func trustedHops(in ir.Inbound) uint32 {
	if in.Public() {
		return in.TrustedProxies
	}
	return 1
}

// remoteField is the address of the caller for the log: on a public port that of the client whom the trusted proxies
// name, elsewhere that of the connection, whatever callers write.
func remoteField(in ir.Inbound) string {
	if in.Public() {
		return "%DOWNSTREAM_REMOTE_ADDRESS%"
	}
	return "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"
}

// startsTLS says to the callee that its caller came with TLS, unless the app says what its own caller came with. What
// the app speaks to Envoy never leaves the pod.
func startsTLS() *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: forwardedProtoHeader, Value: "https"},
		AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
	}}}
}
