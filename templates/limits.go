package templates

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	bodysizelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/body_size_limit/v3"
	connectionlimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// handshakeTimeout bounds the TLS handshake, before which no caller is known.
const handshakeTimeout = 10 * time.Second

// connectionLimit comes first in a chain: before the handshake.
func connectionLimit(in ir.Inbound) []*listenerv3.Filter {
	if in.Limits.MaxConnections == 0 {
		return nil
	}
	return []*listenerv3.Filter{networkFilter("connection_limit", &connectionlimitv3.ConnectionLimit{
		StatPrefix: inboundListener(in), MaxConnections: wrapperspb.UInt64(in.Limits.MaxConnections),
	})}
}

// limit applies the limits of requests. The manager's filters are there already.
func limitRequests(l ir.Limits, manager *hcmv3.HttpConnectionManager) {
	if l.RequestTimeout > 0 {
		manager.RequestTimeout = lasting(l.RequestTimeout)
	}
	if l.StreamIdleTimeout > 0 {
		manager.StreamIdleTimeout = lasting(l.StreamIdleTimeout)
	}
	if l.IdleTimeout > 0 {
		options := common(manager)
		if given := options.IdleTimeout; given == nil || l.IdleTimeout < given.AsDuration() { // a certificate may leave less
			options.IdleTimeout = lasting(l.IdleTimeout)
		}
	}
	if l.MaxRequestBytes == 0 {
		return
	}
	// What a web socket carries is not a body: its filters are those without the limit.
	for _, upgrade := range manager.UpgradeConfigs {
		upgrade.Filters = manager.HttpFilters
	}
	last := len(manager.HttpFilters) - 1
	filters := append([]*hcmv3.HttpFilter{}, manager.HttpFilters[:last]...)
	filters = append(
		filters,
		httpFilter("body_size_limit", &bodysizelimitv3.BodySizeLimit{MaxRequestBytes: wrapperspb.UInt64(l.MaxRequestBytes)}),
	)
	manager.HttpFilters = append(filters, manager.HttpFilters[last])
}

// common are the manager's options for both versions of HTTP, to be changed.
func common(manager *hcmv3.HttpConnectionManager) *corev3.HttpProtocolOptions {
	if manager.CommonHttpProtocolOptions == nil {
		manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{}
	}
	return manager.CommonHttpProtocolOptions
}
