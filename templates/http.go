package templates

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const hcmFilter = "http"

// Bounds at the public edge, where callers are not known, beside [ir.Limits]. They leave room for what browsers send.
const (
	edgeHeadersKB      = 32
	edgeHeaders        = 100
	edgeHeadersTimeout = 10 * time.Second
	edgeStreams        = 100 // at a time on one HTTP/2 connection
)

// mutualHTTP serves callers that show who they are: it says so to the app, and checks every request.
func (p envoy) mutualHTTP(in ir.Inbound) *hcmv3.HttpConnectionManager {
	manager := p.inboundHTTP(inboundListener(in), in)
	// A caller's own X-Forwarded-Client-Cert is replaced by what TLS has verified.
	manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	if len(in.Forwarded) > 0 {
		manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_APPEND_FORWARD // of peers alone, checked by forwardedBy
	}
	manager.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true}
	manager.AccessLog = []*accesslogv3.AccessLog{requestLog(in, "request")}
	manager.HttpFilters = []*hcmv3.HttpFilter{p.authorizationFilter()}
	p.serveForLife(manager)
	manager.HttpFilters = append(manager.HttpFilters, notWrittenTrailers(), router())
	if len(in.Forwarded) > 0 {
		manager.HttpFilters = append([]*hcmv3.HttpFilter{clientFilter()}, manager.HttpFilters...)
	}
	authenticate(manager, in)
	normalizePaths(in, manager)
	if in.Public() {
		harden(manager)
	}
	pingCallers(manager, in)
	limitRequests(in.Limits, manager)
	p.traceInbound(manager, in, true)
	return manager
}

// plainHTTP serves callers of whom nothing is known, in plain text or without a certificate: X-Forwarded-Client-Cert is
// removed, which is what Envoy does when it is told nothing.
func (p envoy) plainHTTP(in ir.Inbound) *hcmv3.HttpConnectionManager {
	event, stats := plainEvent(in, "request")
	manager := p.inboundHTTP(stats, in)
	manager.AccessLog = []*accesslogv3.AccessLog{requestLog(in, event)}
	if !in.JWT.IsZero() {
		manager.HttpFilters = []*hcmv3.HttpFilter{p.authorizationFilter()}
	}
	manager.HttpFilters = append(manager.HttpFilters, notWrittenTrailers(), router())
	authenticate(manager, in)
	if in.Public() {
		harden(manager)
	}
	pingCallers(manager, in)
	limitRequests(in.Limits, manager)
	p.traceInbound(manager, in, false)
	return manager
}

func (p envoy) inboundHTTP(stats string, in ir.Inbound) *hcmv3.HttpConnectionManager {
	if in.App == 0 {
		manager := transparentHTTP(stats, p.routeHosts(p.gatewayRoutes()))
		p.callForLife(manager)
		plainPaths(manager)
		fromCallers(manager, in)
		origin(manager, in)
		manager.PreserveExternalRequestId = true
		return manager
	}
	manager := transparentHTTP(stats, everythingTo(stats, &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: appCluster(in)},
		Timeout:          lasting(0),
	}))
	fromCallers(manager, in)
	likeCallee(manager)
	origin(manager, in)
	manager.PreserveExternalRequestId = true
	return manager
}

// harden bounds what the public may ask for.
func harden(manager *hcmv3.HttpConnectionManager) {
	plainPaths(manager)
	likeEdge(manager)
	manager.PreserveExternalRequestId = false
	manager.MaxRequestHeadersKb = count(edgeHeadersKB)
	manager.RequestHeadersTimeout = lasting(edgeHeadersTimeout)
	// An app that turns hyphens into underscores, as many do, would take such a header for another one.
	common(manager).HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_REJECT_REQUEST
	common(manager).MaxHeadersCount = count(edgeHeaders)
	manager.Http2ProtocolOptions.MaxConcurrentStreams = count(edgeStreams)
	manager.Http2ProtocolOptions.MaxHeaderFieldSizeKb = nil // which is within edgeHeadersKB
}

// plainPaths makes a path mean the same to Envoy, which routes by it, and to the app behind it.
func plainPaths(manager *hcmv3.HttpConnectionManager) {
	manager.NormalizePath = yes()
	manager.MergeSlashes = true
	manager.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_REJECT_REQUEST
}

// transparentHTTP adds no limit and no mark of its own: how long a request may take is decided by the two apps.
func transparentHTTP(stats string, routes *routev3.RouteConfiguration) *hcmv3.HttpConnectionManager {
	// Listeners and clusters come from two files that are read in any order; a listener rejected for a
	// cluster that is read a moment later would stay rejected.
	routes.ValidateClusters = no()
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:                 stats,
		CodecType:                  hcmv3.HttpConnectionManager_AUTO,
		Http2ProtocolOptions:       takesUpgrades(ownStreams(http2Server())),
		StreamIdleTimeout:          lasting(0),
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		UpgradeConfigs:             []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		RouteSpecifier:             &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes},
	}
	likeServer(manager)
	return manager
}

// everythingTo is one route for all requests.
func everythingTo(name string, action *routev3.RouteAction) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{
		Name: name, Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Match:  anyPath(),
			Action: &routev3.Route_Route{Route: action},
		}},
	}}}
}

// router leaves out Envoy's own headers.
func router() *hcmv3.HttpFilter {
	return httpFilter("router", &routerv3.Router{SuppressEnvoyHeaders: true})
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
}
