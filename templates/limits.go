package templates

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	bodysizelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/body_size_limit/v3"
	connectionlimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Limits bound what callers of an inbound port may take. A zero is no limit.
type Limits struct {
	// MaxConnections is how many connections may be open at a time; a further one is closed at once.
	MaxConnections uint64
	// MaxRequestBytes bounds the body of a request, which passes as it comes; a longer one gets 413.
	MaxRequestBytes uint64
	// RequestTimeout is how long a request may take to arrive as a whole; a slower one gets 408.
	RequestTimeout time.Duration
	// StreamIdleTimeout is how long a request, or a web socket, may rest.
	StreamIdleTimeout time.Duration
	// IdleTimeout is how long a connection without requests stays open, and of [TCP] one that rests.
	IdleTimeout time.Duration
}

// DefaultLimits are sensible ones for a port where callers are not known, and none for others. How long a body may be, and how long
// TCP may rest, only the app knows.
func DefaultLimits(in Inbound) Limits {
	switch {
	case !in.public():
		return Limits{}
	case in.Protocol == TCP:
		return Limits{MaxConnections: 10_000}
	}
	return Limits{
		MaxConnections: 10_000, RequestTimeout: 5 * time.Minute, StreamIdleTimeout: 5 * time.Minute,
		IdleTimeout: 15 * time.Minute, // longer than load balancers keep theirs, so that it is they who close
	}
}

// handshakeTimeout bounds the TLS handshake of callers who are not known.
const handshakeTimeout = 10 * time.Second

// connectionLimit comes first in a chain: before the handshake.
func connectionLimit(in Inbound) []*listenerv3.Filter {
	if in.Limits.MaxConnections == 0 {
		return nil
	}
	return []*listenerv3.Filter{networkFilter("connection_limit", &connectionlimitv3.ConnectionLimit{
		StatPrefix: inboundListener(in), MaxConnections: wrapperspb.UInt64(in.Limits.MaxConnections),
	})}
}

// limit applies the limits of requests. The manager's filters are there already.
func (l Limits) limit(manager *hcmv3.HttpConnectionManager) {
	if l.RequestTimeout > 0 {
		manager.RequestTimeout = lasting(l.RequestTimeout)
	}
	if l.StreamIdleTimeout > 0 {
		manager.StreamIdleTimeout = lasting(l.StreamIdleTimeout)
	}
	if l.IdleTimeout > 0 {
		common(manager).IdleTimeout = lasting(l.IdleTimeout)
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
	filters = append(filters, httpFilter("body_size_limit", &bodysizelimitv3.BodySizeLimit{MaxRequestBytes: wrapperspb.UInt64(l.MaxRequestBytes)}))
	manager.HttpFilters = append(filters, manager.HttpFilters[last])
}

// common are the manager's options for both versions of HTTP, to be changed.
func common(manager *hcmv3.HttpConnectionManager) *corev3.HttpProtocolOptions {
	if manager.CommonHttpProtocolOptions == nil {
		manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{}
	}
	return manager.CommonHttpProtocolOptions
}

func (m *mistakes) checkLimits(where string, in Inbound) {
	l := in.Limits
	if l.RequestTimeout < 0 || l.StreamIdleTimeout < 0 || l.IdleTimeout < 0 {
		m.add("%s: expected limits of 0s or more, got %s, %s and %s", where, l.RequestTimeout, l.StreamIdleTimeout, l.IdleTimeout)
	}
	if in.Protocol == TCP && (l.MaxRequestBytes > 0 || l.RequestTimeout > 0 || l.StreamIdleTimeout > 0) {
		m.add("%s: expected no limits of requests with protocol %s, which has none", where, TCP)
	}
}
