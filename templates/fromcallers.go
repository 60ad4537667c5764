package templates

import (
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// fromCallers is what holds for requests of callers at every inbound port, of peers and of others.
func fromCallers(manager *hcmv3.HttpConnectionManager, in ir.Inbound) {
	manager.EarlyHeaderMutationExtensions = notWritten()
	refuseOddHosts(in, manager.GetRouteConfig())
	if in.Protocol == ir.GRPC && in.App != 0 {
		// No gRPC server takes any, and over HTTP/2 one might end the connection for it.
		manager.UpgradeConfigs = nil
	}
}
