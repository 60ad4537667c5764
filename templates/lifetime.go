package templates

import (
	"fmt"
	"math"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// A connection is ended at the latest when a certificate has expired that it was made with, the own one or the peer's.
//
// The own one: Envoy cannot say how much of it was left in a handshake. SPIRE renews at half-life, so it was at least
// half, and [envoy.connectionLife] is the longest time that is safe. Both sides keep to theirs, and so the shorter one
// counts. TCP is ended after exactly that. An HTTP connection stops taking requests after a tenth of it, called
// freshness here: a server says so by GOAWAY, or by "connection: close" with the next response, a caller's Envoy opens
// another connection. Requests and streams that are under way then go on, and are ended in time for the rest: a caller
// of HTTP/1.1 without our Envoy may rest, for [envoy.idle], before it makes the request that is its last.
//
//	0           freshness                                         connectionLife
//	|--- new requests ---|--- drained: streams go on ----|--- idle ------|
//
// That last request and whatever a caller's certificate ends sooner are bounded by a deadline of the connection, see
// [envoy.deadline], and by [envoy.chooseLife] for TCP.

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

// leastIdle is longer than callers' Envoys keep a connection that rests, so that none of their requests crosses its end.
const leastIdle = idleTimeout + time.Second

// idle is how long an HTTP/1.1 caller may rest between two requests.
func (p envoy) idle() time.Duration {
	return min(defaultIdle, max(p.connectionLife()/20, min(leastIdle, p.connectionLife()/4))).Truncate(time.Millisecond)
}

// peerConnectionLife is the freshness of connections to peers, of which the caller's Envoy ends each between two
// requests. With a drain time it is at most a third of that, so that none is left when a peer ends that has served for
// the drain time since it was taken from DNS: a third of it for DNS, and the rest for requests.
func (p envoy) peerConnectionLife() time.Duration {
	if p.Drain == 0 {
		return p.freshness()
	}
	return min(p.freshness(), max(p.Drain/3, time.Millisecond).Truncate(time.Millisecond))
}

// serveForLife bounds connections of callers that present a certificate.
func (p envoy) serveForLife(manager *hcmv3.HttpConnectionManager) {
	options := common(manager)
	options.MaxConnectionDuration = lasting(p.freshness())
	options.IdleTimeout = lasting(p.idle())
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
	options.MaxStreamDuration = lasting(p.connectionLife() - p.freshness() - p.grace() - p.idle() - p.closing())
	endByDeadline(manager)
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
	// leftHeader has the same number until then: what Envoy is told by others would be removed.
	leftHeader = "x-spire-injector-left"
	// peerEndKey and deadlineKey are where a connection keeps the end of the caller's certificate and its own, both in
	// seconds since 1970.
	peerEndKey  = "end"
	deadlineKey = "deadline"
	// expiredAnswer is what a caller gets whose request came after the deadline.
	expiredAnswer = "certificate expired"
)

// deadline finds out, once for each connection, when it has to end: when the caller's certificate does, or
// [envoy.connectionLife] after it was accepted. It is one second early, as times are rounded down. Without a certificate
// there is none.
func (p envoy) deadline() *listenerv3.Filter {
	life := int((p.connectionLife() - p.closing()) / time.Second)
	end := "int(string(filter_state." + peerEndKey + "))"
	own := fmt.Sprintf("int(request.time) + %d", life)
	earlier := "%CEL((" + end + " < " + own + " ? " + end + " : " + own + ") - 1)%"
	return networkFilter("deadline", &setfilterstatev3.Config{OnDownstreamTlsHandshake: []*filterstatev3.FilterStateValue{
		connectionState(peerEndKey, "%DOWNSTREAM_PEER_CERT_V_END(%s)%"),
		connectionState(deadlineKey, earlier, bytesAsStrings()),
	}})
}

// connectionState keeps a text with the connection.
func connectionState(key, format string, formatters ...*corev3.TypedExtensionConfig) *filterstatev3.FilterStateValue {
	return &filterstatev3.FilterStateValue{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: key},
		FactoryKey: "envoy.string",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
			Formatters: formatters,
		}},
	}
}

// bytesAsStrings lets CEL read what a connection keeps, which is bytes to it. It is not made for larger values.
func bytesAsStrings() *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: "cel", TypedConfig: pack(&celv3.Cel{
		CelConfig: &corev3.CelExpressionConfig{EnableStringConversion: true},
	})}
}

// endByDeadline ends a request at the deadline of its connection, and denies one that comes later. First the header is
// the deadline, then the milliseconds until then. Without a deadline it is no number, which routes and Envoy's router
// pass over. HTTP filters could do the same for 24,000 instructions a request; this takes 14,000. The routes are there.
func endByDeadline(manager *hcmv3.HttpConnectionManager) {
	manager.EarlyHeaderMutationExtensions = append(manager.EarlyHeaderMutationExtensions, &corev3.TypedExtensionConfig{
		Name: "deadline",
		TypedConfig: pack(&earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{
			{Action: &mutationv3.HeaderMutation_Append{Append: overwritten(leftHeader, "%FILTER_STATE("+deadlineKey+":PLAIN)%")}},
			{Action: &mutationv3.HeaderMutation_Append{Append: overwritten(
				leftHeader, `%CEL((int(request.headers["`+leftHeader+`"])-int(request.time))*1000)%`,
			)}},
		}}),
	})
	late := &routev3.Route{
		Match: anyPath(&routev3.HeaderMatcher{
			Name: leftHeader,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{
				RangeMatch: &typev3.Int64Range{Start: math.MinInt32 * 1000, End: 1},
			},
		}),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
			Status: 403,
			Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: expiredAnswer}},
		}},
	}
	routes := manager.GetRouteConfig()
	for _, host := range routes.VirtualHosts {
		host.Routes = append([]*routev3.Route{late}, host.Routes...)
		host.RequestHeadersToAdd = append(host.RequestHeadersToAdd, overwritten(streamDuration, "%REQ("+leftHeader+")%"))
	}
	routes.RequestHeadersToRemove = append(routes.RequestHeadersToRemove, leftHeader) // comes after that
}

// overwritten is a header with one value, whatever the caller sent.
func overwritten(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
