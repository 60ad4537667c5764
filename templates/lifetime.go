package templates

import (
	"math"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// A connection is ended at the latest when a certificate has expired that it was made with, the own one or the peer's.
//
// The own one: Envoy cannot say how much of it was left in a handshake. SPIRE renews at half-life, so it was at least
// half, and [envoy.connectionLife] is the longest time that is safe. Both sides keep to theirs, and so the shorter one
// counts. TCP is ended after exactly that. An HTTP connection stops taking requests after a tenth of it, called
// freshness here: a server says so by GOAWAY, or by "connection: close" with the next response, a caller's Envoy opens
// another connection. That leaves the rest, nine tenths, to requests and streams that are already under way, which are
// ended after that.
//
//	0           freshness                                   connectionLife
//	|--- new requests ---|--- drained: streams go on ---------------| streams end
//
// The peer's: a caller without our Envoy may have a shorter TTL than the server, and keeps no rule. The end of its
// certificate is known with each request, see [peerExpiry]. To TCP Envoy can give no time that differs by connection.

// maxGrace is how long Envoy by default still takes requests after it has announced the end of an HTTP/2 connection, and
// maxClosing how long it waits at the end of one of HTTP/1 for the other side to close too.
const (
	maxGrace   = 5 * time.Second
	maxClosing = time.Second
)

// defaultIdle is Envoy's default for HTTP connections that carry no request.
const defaultIdle = time.Hour

// connectionLife is half the TTL of the SVID: what is left of it in the least favourable handshake.
func (p envoy) connectionLife() time.Duration { return p.SVIDTTL / 2 }

// freshness is for how long an HTTP connection takes new requests, in whole milliseconds.
func (p envoy) freshness() time.Duration { return (p.connectionLife() / 10).Truncate(time.Millisecond) }

// grace is for how long an HTTP/2 server takes them beyond that, because the caller may not know yet.
func (p envoy) grace() time.Duration { return min(maxGrace, p.freshness()/2) }

// closing is how long an HTTP/1 server waits at the end, when nothing is carried any more.
func (p envoy) closing() time.Duration { return min(maxClosing, p.freshness()/2) }

// peerConnectionLife is the freshness of connections to peers, of which the caller's Envoy ends each between two
// requests. With a drain time it is at most a third of that, so that none is left when a peer ends that has served for
// the drain time since it was taken from DNS: a third of it for DNS, and the rest for requests.
func (p envoy) peerConnectionLife() time.Duration {
	if p.Drain == 0 {
		return p.freshness()
	}
	return min(p.freshness(), max(p.Drain/3, time.Millisecond).Truncate(time.Millisecond))
}

// serveForLife bounds connections of callers that present a certificate. All filters but the router are there.
func (p envoy) serveForLife(manager *hcmv3.HttpConnectionManager, in ir.Inbound) {
	options := common(manager)
	options.MaxConnectionDuration = lasting(p.freshness())
	// Otherwise a request that crosses the end of its connection is lost.
	manager.Http1SafeMaxConnectionDuration = true
	if grace := p.grace(); grace < maxGrace {
		manager.DrainTimeout = lasting(grace)
	}
	if closing := p.closing(); closing < maxClosing {
		manager.DelayedCloseTimeout = lasting(closing)
	}
	if p.UnboundedStreams {
		return
	}
	rest := p.connectionLife() - p.freshness() - p.grace() - p.closing()
	options.MaxStreamDuration = lasting(rest)
	if in.Limits.IdleTimeout == 0 && rest < defaultIdle {
		options.IdleTimeout = lasting(rest)
	}
	manager.HttpFilters = append(manager.HttpFilters, peerExpiry()...)
}

// callForLife bounds requests that go to peers. At a gateway's port for callers with certificates the bound for those,
// which is not longer, takes its place.
func (p envoy) callForLife(manager *hcmv3.HttpConnectionManager) {
	if !p.UnboundedStreams {
		common(manager).MaxStreamDuration = lasting(p.connectionLife() - p.peerConnectionLife())
	}
}

// tcpForLife bounds a connection of plain TCP.
func (p envoy) tcpForLife(tcp *tcpproxyv3.TcpProxy) {
	if !p.UnboundedStreams {
		tcp.MaxDownstreamConnectionDuration = lasting(p.connectionLife())
	}
}

const (
	// streamDuration is the header by which Envoy is told how long one request may last. It does not reach the app.
	streamDuration = "x-envoy-upstream-stream-duration-ms"
	// expiredPolicy is what the log says of a request that came too late.
	expiredPolicy = "certificate_expired"
)

// peerExpiry ends a request when the caller's certificate expires, and denies one that comes later on a connection that
// is still open. First the header is the end of the certificate in seconds, then the milliseconds until one second
// before it, as times are rounded down. It is dear, and yet made for each request: a connection keeps bytes alone, which
// the expression could not read as a number. Without a certificate it is no number, which both filters and Envoy's router
// pass over.
func peerExpiry() []*hcmv3.HttpFilter {
	set := func(value string) *mutationv3.HeaderMutation {
		return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: streamDuration, Value: value},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}}}
	}
	left := &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: []*mutationv3.HeaderMutation{
			set("%DOWNSTREAM_PEER_CERT_V_END(%s)%"),
			set(`%CEL((int(request.headers["` + streamDuration + `"])-int(request.time)-1)*1000)%`),
		},
	}}
	late := headerPermission(&routev3.HeaderMatcher{
		Name: streamDuration,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{
			RangeMatch: &typev3.Int64Range{Start: math.MinInt32 * 1000, End: 1},
		},
	})
	expired := &httprbacv3.RBAC{Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{
		expiredPolicy: {
			Permissions: []*rbacv3.Permission{late},
			Principals:  []*rbacv3.Principal{{Identifier: &rbacv3.Principal_Any{Any: true}}},
		},
	}}}
	return []*hcmv3.HttpFilter{httpFilter("peer_expiry", left), httpFilter("expired", expired)}
}
