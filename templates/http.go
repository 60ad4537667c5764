package templates

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

const hcmFilter = "envoy.filters.network.http_connection_manager"

// inboundHTTP serves callers: it says who they are, checks every request, and hands it to the app.
func (p Proxy) inboundHTTP(name string, in Inbound) *hcmv3.HttpConnectionManager {
	manager := transparentHTTP(name, appCluster(in))
	// A caller's own X-Forwarded-Client-Cert is replaced by what TLS has verified.
	manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	manager.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true}
	manager.UseRemoteAddress = yes()
	manager.PreserveExternalRequestId = true
	manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxConnectionDuration: lasting(p.connectionLife())}
	// Otherwise a request that crosses the end of its connection is lost.
	manager.Http1SafeMaxConnectionDuration = true
	manager.AccessLog = []*accesslogv3.AccessLog{requestLog(name)}
	manager.HttpFilters = []*hcmv3.HttpFilter{authorizationFilter(), router()}
	return manager
}

// upstreamHTTP serves the app. AUTO also takes HTTP/2 without TLS, recognised by its preface.
func upstreamHTTP(name string, up Upstream) *hcmv3.HttpConnectionManager {
	manager := transparentHTTP(name, upstreamCluster(up))
	manager.AccessLog = []*accesslogv3.AccessLog{upstreamRequestLog(name)}
	manager.HttpFilters = []*hcmv3.HttpFilter{router()}
	return manager
}

// transparentHTTP sends everything to one cluster and adds no limit and no mark of its own: how long
// a request may take is decided by the two apps.
func transparentHTTP(name, cluster string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                 name,
		CodecType:                  hcmv3.HttpConnectionManager_AUTO,
		StreamIdleTimeout:          lasting(0),
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		UpgradeConfigs:             []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		RouteSpecifier: routes(name, &routev3.Route{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
				Timeout:          lasting(0),
			}},
		}),
	}
}

func routes(name string, all ...*routev3.Route) *hcmv3.HttpConnectionManager_RouteConfig {
	return &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:         name,
		VirtualHosts: []*routev3.VirtualHost{{Name: name, Domains: []string{"*"}, Routes: all}},
		// Listeners and clusters come from two files that are read in any order; a listener rejected for a
		// cluster that is read a moment later would stay rejected.
		ValidateClusters: no(),
	}}
}

func router() *hcmv3.HttpFilter { return httpFilter("envoy.filters.http.router", &routerv3.Router{}) }

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
}
