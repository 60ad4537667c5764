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
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routeagainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// A connection is ended at the latest when a certificate has expired that it was made with, the own one or the peer's.
//
// The own one: Envoy cannot say how much of it was left in a handshake. SPIRE renews at half-life, so it was at least
// half, and [envoy.connectionLife] is the longest time that is safe. Both sides keep to theirs, and so the shorter one
// counts. TCP is ended after exactly that. An HTTP connection stops taking requests after some of it, called
// freshness here: a server says so by GOAWAY, or by "connection: close" with the next response, a caller's Envoy opens
// another connection. Requests and streams that are under way then go on, and are ended in time for the rest: a caller
// of HTTP/1.1 without our Envoy may rest, for [envoy.idle], before it makes the request that is its last.
//
//	0           freshness                                         connectionLife
//	|--- new requests ---|--- drained: streams go on ----|--- idle ------|
//
// Not everything can be announced. With HTTP/1.1 an Envoy opens a connection for a request that then goes out on
// another one, which has become free meanwhile. On one that has never carried a request the server has nothing to say
// "close" with, and closes it; a request that crosses this is lost. The same holds for an answer that has begun before
// the end and ends after it. So callers' Envoys end theirs long before: after half of the time, see
// [envoy.peerConnectionLife].
//
// That last request, and all of a caller whose certificate ends sooner, are bounded by a deadline of the connection, see
// [envoy.deadline] and [envoy.endByDeadline], and TCP by [envoy.chooseLife].

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

// freshness is for how long an HTTP connection takes new requests, in whole milliseconds: a tenth of its life. A server
// whose own certificates are short has callers whose are not, so it takes them for twice as long as those would ask, if
// that leaves most of the life to the requests.
func (p envoy) freshness() time.Duration {
	life := p.connectionLife()
	return max(life/10, min(life/4, 2*p.callersEnd())).Truncate(time.Millisecond)
}

// callersEnd is after how long callers' Envoys end their connections, whatever their TTL is, so that none is left when a
// peer ends that has served for the drain time since it was taken from DNS: a third of it for DNS, and the rest for
// requests. It is zero without a drain time.
func (p envoy) callersEnd() time.Duration { return p.Drain / 3 }

// grace is for how long an HTTP/2 server takes them beyond that, because the caller may not know yet.
func (p envoy) grace() time.Duration {
	return min(maxGrace, p.connectionLife()/20).Truncate(time.Millisecond)
}

// closing is how long an HTTP/1 server waits at the end, when nothing is carried any more.
func (p envoy) closing() time.Duration {
	return min(maxClosing, p.connectionLife()/20).Truncate(time.Millisecond)
}

// leastIdle is longer than callers' Envoys keep a connection that rests, so that none of their requests crosses its end.
const leastIdle = idleTimeout + time.Second

// idle is how long an HTTP/1.1 caller may rest between two requests.
func (p envoy) idle() time.Duration {
	return min(defaultIdle, max(p.connectionLife()/20, min(leastIdle, p.connectionLife()/4))).Truncate(time.Millisecond)
}

// peerConnectionLife is the freshness of connections to peers, of which the caller's Envoy ends each between two
// requests: after half of a peer's freshness, if that has the same TTL, so that the peer is never first.
func (p envoy) peerConnectionLife() time.Duration {
	life := p.freshness() / 2
	if p.Drain > 0 {
		life = min(life, p.callersEnd())
	}
	return max(life, time.Millisecond).Truncate(time.Millisecond)
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
	options.MaxStreamDuration = lasting(p.connectionLife() - p.takesRequests() - p.closing())
	p.endByDeadline(manager)
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
	// ageHeader says how old the connection was when the request began, if its caller's certificate lasts. It does not
	// reach the app either.
	ageHeader = "x-spire-injector-age"
	// peerEndKey and deadlineKey are where a connection keeps the end of the caller's certificate and its own, both in
	// seconds since 1970, and lastsKey is a zero if the certificate lasts for [envoy.connectionLife].
	peerEndKey  = "end"
	deadlineKey = "deadline"
	lastsKey    = "lasts"
	// expiredAnswer is what a caller gets whose request came after the deadline.
	expiredAnswer = "certificate expired"
	// leftFilter and againFilter are the two HTTP filters that look at the deadline.
	leftFilter  = "left"
	againFilter = "again"
)

// deadline finds out, once for each connection, when it has to end: when the caller's certificate does, or
// [envoy.connectionLife] after it was accepted. It is one second early, as times are rounded down. It also finds out
// whether that certificate makes no difference, because it lasts for longer than connectionLife, or because there is none.
//
// SPIRE renews at half-life, so the SVID of a caller whose TTL is as long as ours, or longer, lasts in nearly each
// handshake.
func (p envoy) deadline() *listenerv3.Filter {
	const (
		text = "string(filter_state." + peerEndKey + ")"
		end  = "int(" + text + ")"
		none = text + `=="-"`
		now  = "int(request.time)"
	)
	own := fmt.Sprintf("%s+%d", now, int((p.connectionLife()-p.closing())/time.Second))
	earlier := fmt.Sprintf("%%CEL((%s||%s<%s?%s:%s)-1)%%", none, own, end, own, end)
	lasts := fmt.Sprintf(`%%CEL(%s||%s-%s>%d?"0":"x")%%`, none, end, now, (p.connectionLife()+time.Second-1)/time.Second)
	return networkFilter("deadline", &setfilterstatev3.Config{OnDownstreamTlsHandshake: []*filterstatev3.FilterStateValue{
		connectionState(peerEndKey, "%DOWNSTREAM_PEER_CERT_V_END(%s)%"),
		connectionState(deadlineKey, earlier, bytesAsStrings()),
		connectionState(lastsKey, lasts, bytesAsStrings()),
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

// takesRequests is for how long after its beginning a connection may take requests that last for as long as any may, and
// is gone in time.
func (p envoy) takesRequests() time.Duration { return p.freshness() + p.grace() + p.idle() }

// endByDeadline ends requests at the deadline of their connection, and denies those that come later.
//
// Envoy has no arithmetic but CEL, which costs more than all else that is done here, so only those requests are looked
// at that need it. A request that begins while the connection is younger than [envoy.takesRequests] ends in time as any
// other does, if the caller's certificate lasts:
//
//	takesRequests + the longest request + closing = connectionLife < what was left of the certificate in the handshake
//
// A header has that age in milliseconds, behind the zero of lastsKey. If the certificate does not last, a letter stands
// there, and it is no number. What is no number within takesRequests, for whatever reason, matches a route that denies
// it. That route has two filters run which are off otherwise: the first writes down how many milliseconds are left, for
// Envoy's router and for the route, which does not match that, and the second has Envoy choose the route again.
func (p envoy) endByDeadline(manager *hcmv3.HttpConnectionManager) {
	manager.EarlyHeaderMutationExtensions = append(manager.EarlyHeaderMutationExtensions, &corev3.TypedExtensionConfig{
		Name: "age",
		TypedConfig: pack(&earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{
			appended(ageHeader, "%FILTER_STATE("+lastsKey+":PLAIN)%%COMMON_DURATION(DS_CX_BEG:DS_RX_BEG:ms)%"),
			// A caller's, which Envoy leaves where it takes the address for an internal one.
			{Action: &mutationv3.HeaderMutation_Remove{Remove: streamDuration}},
		}}),
	})
	left := `%CEL((int(string(filter_state.` + deadlineKey + `))-int(request.time))*1000)%`
	manager.HttpFilters = append(
		manager.HttpFilters,
		off(httpFilter(leftFilter, &headermutationv3.HeaderMutation{})),
		off(httpFilter(againFilter, &routeagainv3.Config{ClearRouteCache: true})),
	)
	look := &routev3.Route{
		Match: anyPath(
			notWithin(ageHeader, 0, p.takesRequests().Milliseconds()),
			notWithin(streamDuration, 1, math.MaxInt64),
		),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
			Status: 403,
			Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: expiredAnswer}},
		}},
		TypedPerFilterConfig: map[string]*anypb.Any{
			leftFilter: pack(&headermutationv3.HeaderMutationPerRoute{Mutations: &headermutationv3.Mutations{
				RequestMutations: []*mutationv3.HeaderMutation{appended(streamDuration, left)},
				Formatters:       []*corev3.TypedExtensionConfig{bytesAsStrings()},
			}}),
			againFilter: pack(&routeagainv3.Config{}),
		},
	}
	routes := manager.GetRouteConfig()
	for _, host := range routes.VirtualHosts {
		host.Routes = append([]*routev3.Route{look}, host.Routes...)
	}
	routes.RequestHeadersToRemove = append(routes.RequestHeadersToRemove, ageHeader)
}

// notWithin matches a header that is missing, or is no number from the first to the one before the second.
func notWithin(name string, first, end int64) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                      name,
		HeaderMatchSpecifier:      &routev3.HeaderMatcher_RangeMatch{RangeMatch: &typev3.Int64Range{Start: first, End: end}},
		InvertMatch:               true,
		TreatMissingHeaderAsEmpty: true,
	}
}

// off has a filter run for those routes alone that say what it does.
func off(filter *hcmv3.HttpFilter) *hcmv3.HttpFilter {
	filter.Disabled = true
	return filter
}

// appended writes a header with one value, whatever the caller sent.
func appended(name, value string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{
		Action: &mutationv3.HeaderMutation_Append{Append: overwritten(name, value)},
	}
}

// overwritten is a header with one value, whatever the caller sent.
func overwritten(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
