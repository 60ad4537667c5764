package envoy

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// exchanges are what apps send and answer. Each is run with and without Envoy between.
func exchanges() []exchange {
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("X-Header-%d: %d", i, i))
		}
		return out
	}
	long := func(n int) string { // which no compression makes short
		var out strings.Builder
		for i := 0; out.Len() < n; i++ {
			fmt.Fprintf(&out, "%x", i*2654435761)
		}
		return out.String()[:n]
	}
	post := []string{"Content-Length: 5"}
	webSocket := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"}
	return []exchange{
		{name: "plain"},
		{name: "HEAD", line: "HEAD / HTTP/1.1", answer: strings.TrimSuffix(plainAnswer, "ok")},
		{name: "POST", line: "POST / HTTP/1.1", headers: post, body: "hello"},
		{name: "empty POST", line: "POST / HTTP/1.1", headers: []string{"Content-Length: 0"}},
		{name: "chunks", line: "POST / HTTP/1.1", headers: []string{"Transfer-Encoding: chunked"}, body: "5\r\nhello\r\n0\r\n\r\n"},
		{name: "PUT", line: "PUT / HTTP/1.1", headers: post, body: "hello"},
		{name: "PATCH", line: "PATCH / HTTP/1.1", headers: post, body: "hello"},
		{name: "DELETE with body", line: "DELETE / HTTP/1.1", headers: post, body: "hello"},
		{name: "GET with body", headers: post, body: "hello"},
		{name: "OPTIONS", line: "OPTIONS / HTTP/1.1"},
		{name: "OPTIONS *", line: "OPTIONS * HTTP/1.1", refused: "404 Not Found"},
		{name: "TRACE", line: "TRACE / HTTP/1.1"},
		{name: "PROPFIND", line: "PROPFIND / HTTP/1.1"},
		{name: "a method in lower case", line: "get / HTTP/1.1", edge: "400 Bad Request"},
		{name: "BAN", line: "BAN / HTTP/1.1", edge: "400 Bad Request"},

		{name: "150 headers", headers: many(150), edge: "431 Request Header Fields Too Large"},
		{name: "5000 headers", headers: many(5000), edge: "431 Request Header Fields Too Large"},
		{name: "a cookie of 100 KB", headers: []string{"Cookie: a=" + long(100<<10)}, edge: "431 Request Header Fields Too Large"},
		{name: "a header of 250 KB", headers: []string{"X-Long: " + long(250<<10)}, edge: "431 Request Header Fields Too Large"},
		{name: "a path of 100 KB", line: "GET /" + long(100<<10) + " HTTP/1.1", edge: "431 Request Header Fields Too Large"},
		{name: "150 headers in the answer", answer: answerWith(many(150)...)},
		{name: "5000 headers in the answer", answer: answerWith(many(5000)...)},
		{name: "a header of 100 KB in the answer", answer: answerWith("X-Long: " + long(100<<10))},
		{name: "a header of 250 KB in the answer", answer: answerWith("X-Long: " + long(250<<10))},

		{name: "HTTP/1.0", line: "GET / HTTP/1.0"},
		{name: "HTTP/1.0 without Host", line: "GET / HTTP/1.0", noHost: true},
		{name: "an answer of HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nDate: x\r\n\r\nok"},
		{name: "an answer that ends with its connection", answer: "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\nok"},
		{name: "chunks in the answer", answer: "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},

		{name: "an offer of TLS", headers: []string{"Connection: Upgrade", "Upgrade: TLS/1.2"}},
		{name: "an offer of HTTP/2", headers: []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"}},
		{name: "an offer of something", headers: []string{"Connection: Upgrade", "Upgrade: something/2"}},
		{name: "a web socket", headers: webSocket,
			answer: "HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"},
		{name: "a web socket that the app refuses", headers: webSocket,
			answer: "HTTP/1.1 403 Forbidden\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"},
		{name: "an offer of several", headers: []string{"Connection: Upgrade", "Upgrade: TLS/1.2, h2c, wx"}},

		{name: "100-continue", line: "POST / HTTP/1.1", headers: append(post, "Expect: 100-continue"), body: "hello",
			interim: "HTTP/1.1 100 Continue\r\n\r\n"},
		{name: "no 100-continue", line: "POST / HTTP/1.1", headers: append(post, "Expect: 100-continue"), body: "hello", early: true,
			answer: "HTTP/1.1 401 Unauthorized\r\nDate: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{name: "early hints", interim: "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"},
		{name: "trailers", line: "POST / HTTP/1.1", headers: []string{"Transfer-Encoding: chunked", "Trailer: X-Sum"},
			body: "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"},
		{name: "trailers in the answer", headers: []string{"TE: trailers", "Connection: TE"},
			answer: "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"},

		{name: "case of names", headers: []string{"X-CaSe: 1", "x-lower: 2", "X-UPPER: 3"}},
		{name: "case of names in the answer", answer: answerWith("X-CaSe: 1", "x-lower: 2", "WWW-Authenticate: Basic", "ETag: 1")},
		{name: "one name twice", headers: []string{"X-Two: 1", "X-Two: 2", "Accept: a/b", "Accept: c/d"}},
		{name: "one name twice in the answer", answer: answerWith("Set-Cookie: a=1", "Set-Cookie: b=2", "X-Two: 1", "X-Two: 2")},
		{name: "underscores", headers: []string{"X_Name: 1"}, edge: "400 Bad Request"},
		{name: "odd values", headers: []string{"X-Empty:", "X-Tab: a\tb", "X-Latin: caf\xe9", "X-UTF: café", `X-Quote: "a, b";c`}},
		{name: "two cookies", headers: []string{"Cookie: a=1", "Cookie: b=2"}},
		{name: "ends of others", headers: []string{"Forwarded: for=192.0.2.1", "X-Real-Ip: 192.0.2.1", "Via: 1.1 x", "X-Forwarded-Host: x.org",
			"X-Forwarded-Port: 443", "X-Forwarded-Prefix: /x"}},
		{name: "X-Forwarded-For", headers: []string{"X-Forwarded-For: 192.0.2.1, 192.0.2.2"}},
		{name: "X-Forwarded-Proto", headers: []string{"X-Forwarded-Proto: https"}},
		{name: "X-Forwarded-Proto of plain text", headers: []string{"X-Forwarded-Proto: http"}},
		{name: "traces", headers: []string{"X-Request-Id: mine", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"X-B3-TraceId: 1"}},
		{name: "authorization", headers: []string{"Authorization: Basic YTpi", "Proxy-Authorization: Basic YTpi"}},
		{name: "what is said of bodies", headers: []string{"Accept-Encoding: gzip", "Range: bytes=0-1", "If-None-Match: 1", "Content-Type: a/b"},
			answer: answerWith("Content-Encoding: gzip", "Accept-Ranges: bytes", "Vary: Accept-Encoding", "Server: app", "X-Powered-By: app")},
		{name: "Host with a port", noHost: true, headers: []string{"Host: api.example.org:8080"}},
		{name: "Host in upper case", noHost: true, headers: []string{"Host: API.example.org"}},

		{name: "slashes", line: "GET /a//b HTTP/1.1", edgeLine: "GET /a/b HTTP/1.1"},
		{name: "dots", line: "GET /a/../b HTTP/1.1", edgeLine: "GET /b HTTP/1.1"},
		{name: "escaped slashes", line: "GET /a%2fb%5Cc HTTP/1.1", edge: "400 Bad Request"},
		{name: "odd paths", line: `GET /a|b"[{%20%e4?x=1&y=[]|%2f HTTP/1.1`, edgeLine: `GET /a%7Cb%22[%7B%20%e4?x=1&y=[]|%2f HTTP/1.1`},
		{name: "a path of UTF-8", line: "GET /café?é HTTP/1.1", refused: "400 Bad Request"},
		{name: "a path with a fragment", line: "GET /a#b HTTP/1.1", refused: "400 Bad Request"},
		{name: "Content-Length and chunks", line: "POST / HTTP/1.1", headers: append(post, "Transfer-Encoding: chunked"),
			body: "5\r\nhello\r\n0\r\n\r\n", refused: "400 Bad Request"},
		{name: "a whole URL", line: "GET http://api.example.org/x?y HTTP/1.1"},

		{name: "201", answer: "HTTP/1.1 201 Created\r\nDate: x\r\nLocation: http://127.0.0.1:8080/x\r\nContent-Length: 0\r\n\r\n"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n"},
		{name: "205", answer: "HTTP/1.1 205 Reset Content\r\nDate: x\r\nContent-Length: 0\r\n\r\n"},
		{name: "304 of something", answer: "HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 5\r\n\r\n"},
		{name: "102", interim: "HTTP/1.1 102 Processing\r\n\r\n"},
		{name: "a client that has sent all", halfClose: true},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nDate: x\r\nETag: 1\r\n\r\n"},
		{name: "299", answer: "HTTP/1.1 299 Fine\r\nDate: x\r\nContent-Length: 0\r\n\r\n"},
		{name: "418", answer: "HTTP/1.1 418 Short And Stout\r\nDate: x\r\nContent-Length: 0\r\n\r\n"},
		{name: "503", answer: "HTTP/1.1 503 Service Unavailable\r\nDate: x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"},
		{name: "599", answer: "HTTP/1.1 599 Odd\r\nDate: x\r\nContent-Length: 0\r\n\r\n"},
		{name: "no Date", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "1 MB each way", line: "POST / HTTP/1.1", headers: []string{"Content-Length: 1048576"}, body: long(1 << 20),
			answer: "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1048576\r\n\r\n" + long(1<<20)},
	}
}

// way is how a client reaches the app.
type way struct {
	name   string
	dial   func() (net.Conn, error)
	host   string // of requests that have none
	caller bool   // whether the caller has an Envoy
	public bool
}

// startWays has the app behind an Envoy on a mutual, a permissive and a plain port, reached by a client with an Envoy
// of its own, by one without, and through a gateway.
func startWays(t *testing.T, app uint16, protocol ir.Protocol) []way {
	t.Helper()
	agent := startAgent(t, "/api", "/web", "/edge")
	mutual, permissive, plain := freePort(t), freePort(t), freePort(t)
	in := func(listen uint16, mode ir.TLSMode, callers ...string) ir.Inbound {
		out := ir.Inbound{Listen: listen, App: app, TLS: mode, Protocol: protocol}
		if callers != nil {
			out.Peers = peers(t, callers...)
		}
		out.TrustedProxies = ir.DefaultTrustedProxies(out)
		return out
	}
	startProxy(t, ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		in(mutual, ir.Mutual, "/web", "/edge"), in(permissive, ir.Permissive, "/web"), in(plain, ir.None),
	}}).waitReady()
	toMutual := ir.Upstream{Listen: freePort(t), Address: address(t, mutual), Peers: peers(t, "/api"), Protocol: protocol}
	toPermissive := ir.Upstream{Listen: freePort(t), Address: address(t, permissive), Peers: peers(t, "/api"), Protocol: protocol}
	startProxy(t, ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket,
		Upstreams: []ir.Upstream{toMutual, toPermissive}}).waitReady()
	edge := freePort(t)
	startProxy(t, ir.Proxy{ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Gateway: true,
		Inbound:   []ir.Inbound{{Listen: edge, TLS: ir.None, TrustedProxies: 1}},
		Upstreams: []ir.Upstream{{Match: match(t, "/"), Address: address(t, mutual), Peers: peers(t, "/api"), Protocol: protocol}},
	}).waitReady()
	config := tlsConfig(t, agent, id("/web").String())
	return []way{
		{name: "two sidecars", dial: dialTo(toMutual.Listen), host: "127.0.0.1", caller: true},
		{name: "two sidecars, permissive", dial: dialTo(toPermissive.Listen), host: "127.0.0.1", caller: true},
		{name: "TLS", dial: dialTLS(mutual, config), host: "localhost"},
		{name: "plain text, permissive", dial: dialTo(permissive), host: "localhost"},
		{name: "plain text", dial: dialTo(plain), host: "localhost", public: true},
		{name: "gateway", dial: dialTo(edge), host: "localhost", caller: true, public: true},
	}
}

func dialTo(port uint16) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) }
}

func dialTLS(port uint16, config *tls.Config) func() (net.Conn, error) {
	return func() (net.Conn, error) { return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), config) }
}

// TestUnchanged: what the app and the client see is the same with and without Envoy, but for what README says.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	var rows []exchange
	for _, row := range exchanges() {
		rows = append(rows, row.complete())
	}
	app := startWireApp(t, rows)
	ways := startWays(t, app.port, ir.HTTP)
	for _, row := range rows {
		want := app.run(t, row, dialTo(app.port))
		for _, way := range ways {
			expected := withDifferences(want, row, way)
			got := app.run(t, row, way.dial)
			if row.halfClose && got.Client.Headers == nil {
				got = both{} // the app may have seen the request before, or not
			}
			if diff := cmp.Diff(expected.stripped(want), got.stripped(want)); diff != "" {
				t.Errorf("%s, by %s (-without Envoy +with it):\n%.3000s", row.name, way.name, diff)
			}
		}
	}
}

// both is what the app and the client saw.
type both struct{ App, Client message }

func (a *wireApp) run(t *testing.T, row exchange, dial func() (net.Conn, error)) both {
	t.Helper()
	connection, err := dial()
	must(t, err)
	var out both
	if out.Client, err = row.ask(connection); err != nil {
		out.Client.First = err.Error()
	}
	out.App, _ = a.take(row.name)
	return out
}
