package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// edge is a public gateway that lets out one part of an API, which stands behind an Envoy of its own.
type edge struct {
	gateway, api *proxy
	port         uint16 // of the gateway, without TLS
	app          *app
}

func startEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{port: port(t), app: startApp(t)}
	in := ir.Inbound{Listen: port(t), App: e.app.port, Peers: peers(t, "/edge")}
	e.api = startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}})
	match := func(s string) ir.Match {
		out, err := ir.ParseMatch(s)
		must(t, err)
		return out
	}
	e.gateway = startProxy(t, "/edge", ir.Proxy{
		Gateway: true,
		Inbound: []ir.Inbound{{Listen: e.port, TLS: ir.None}},
		Upstreams: []ir.Upstream{
			{Match: match("/public"), Address: address(t, in.Listen), Peers: peers(t, "/api")},
			{Match: match("api.test/v1/public"), Address: address(t, in.Listen), Peers: peers(t, "/api")},
		},
	})
	return e
}

// TestPathTricks: whatever spelling a path has, the gateway and the app mean the same by it, and nothing outside of
// /public reaches the app.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	tests := []struct {
		path   string
		status int
		seen   string // by the app
	}{
		{"/public", 200, "/public"},
		{"/public/", 200, "/public/"},
		{"/public/a?b=/../c", 200, "/public/a?b=/../c"},
		{"/public?x", 200, "/public?x"},
		{"/", 404, ""},
		{"/private", 404, ""},
		{"/publicx", 404, ""},
		{"/Public", 404, ""},
		{"/x/public", 404, ""},
		// Dot segments, also in disguise.
		{"/public/../private", 404, ""},
		{"/public/./a", 200, "/public/a"},
		{"/public/..", 404, ""},
		{"/public/../public/a", 200, "/public/a"},
		{"/private/../public", 200, "/public"},
		{"/public/a/../../private", 404, ""},
		{"/../public", 200, "/public"},
		{"/public/%2e%2e/private", 404, ""},
		{"/public/%2E%2e/private", 404, ""},
		{"/public/.%2e/private", 404, ""},
		{"/public/%2e/a", 200, "/public/a"},
		{"/%2e%2e/private", 404, ""},
		// Slashes: many, encoded, and the other way round.
		{"//public", 200, "/public"},
		{"/public//a", 200, "/public/a"},
		{"/public//../private", 200, "/public/private"}, // the dots take away what is between the slashes
		{"//private", 404, ""},
		{"/public/..//private", 404, ""},
		{"/public%2fa", 400, ""},
		{"/public/..%2fprivate", 400, ""},
		{"/public%2F..%2Fprivate", 400, ""},
		{"/public/%2e%2e%2fprivate", 400, ""},
		{"/public%5ca", 400, ""},
		{"/public/..%5Cprivate", 400, ""},
		{`/public\..\private`, 404, ""},
		{`/public/..\private`, 404, ""},
		// A letter in another spelling is not the letter, and one that is encoded twice stays so for the app.
		{"/%70rivate", 404, ""},
		{"/public/%252e%252e/private", 200, "/public/%252e%252e/private"},
		{"/public/%252fa", 200, "/public/%252fa"},
		// What is no path.
		{"/public#/../private", 400, ""},
		{"/public/#", 400, ""},
		{"/public/%00", 400, ""},
		{"*", 400, ""},
		{"public", 400, ""},
		{"http://app.test/private", 404, ""},
		{"http://app.test/public/../private", 404, ""},
		{"http://app.test/public", 200, "/public"},
		{"//app.test/private", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			check := func(version string, send func() (int, seen, error)) {
				before := e.app.requests.Load()
				status, got, err := send()
				if err != nil || status != test.status || got.URI != test.seen {
					t.Errorf("%s: got status %d and %q at the app (%v), want %d and %q", version, status, got.URI, err, test.status, test.seen)
				}
				if reached := e.app.requests.Load() > before; reached != (test.seen != "") {
					t.Errorf("%s: the app was reached: %t, want %t", version, reached, test.seen != "")
				}
			}
			check("HTTP/1.1", func() (int, seen, error) {
				return raw(t, e.port, "GET "+test.path+" HTTP/1.1", "Host: app.test")
			})
			// Go's client sends these as they are.
			if strings.HasPrefix(test.path, "/") && !strings.HasPrefix(test.path, "//") {
				check("HTTP/2", func() (int, seen, error) { return rawHTTP2(t, e.port, test.path) })
			}
		})
	}
}

// TestHeaderTricks: what the public may not send, and what of it the app does not see.
func TestHeaderTricks(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	const get = "GET /public HTTP/1.1"
	refused := []struct {
		name   string
		lines  []string
		status int
	}{
		{"an underscore", []string{get, "Host: app.test", "X_Forwarded_Client_Cert: URI=" + own("/web")}, 400},
		{"no host", []string{get}, 400},
		{"two hosts, one with that path", []string{"GET /v1/public HTTP/1.1", "Host: api.test", "Host: app.test"}, 400},
		{"two lengths", []string{"POST /public HTTP/1.1", "Host: app.test", "Content-Length: 0", "Content-Length: 5"}, 400},
		{"length and chunks", []string{"POST /public HTTP/1.1", "Host: app.test", "Content-Length: 5", "Transfer-Encoding: chunked"}, 400},
		{"a space before the colon", []string{get, "Host: app.test", "Content-Length : 0"}, 400},
		{"too large", []string{get, "Host: app.test", "X-A: " + strings.Repeat("a", 33<<10)}, 431},
		{"too many", append([]string{get, "Host: app.test"}, strings.Split(strings.Repeat("X-A: b\n", 101), "\n")[:101]...), 431},
		{"another host's path", []string{"GET /v1/public HTTP/1.1", "Host: app.test"}, 404},
	}
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			before := e.app.requests.Load()
			if status, _, err := raw(t, e.port, test.lines...); err != nil || status != test.status {
				t.Errorf("got status %d (%v), want %d", status, err, test.status)
			}
			if e.app.requests.Load() > before {
				t.Error("the app was reached")
			}
		})
	}

	t.Run("forged", func(t *testing.T) {
		status, got, err := raw(t, e.port, get, "Host: app.test",
			"X-Forwarded-Client-Cert: By="+own("/api")+";URI="+own("/web"), "x-forwarded-client-cert: URI="+own("/admin"),
			"X-Spire-Injector-Cluster: upstream_1")
		if err != nil || status != 200 {
			t.Fatalf("got status %d, %v", status, err)
		}
		saysOnly(t, got, own("/api"), own("/edge"))
	})
	t.Run("host with routes of its own", func(t *testing.T) {
		for _, host := range []string{"api.test", "API.test", "api.test:8080"} {
			status, got, err := raw(t, e.port, "GET /v1/public/x HTTP/1.1", "Host: "+host)
			if err != nil || status != 200 || got.URI != "/v1/public/x" {
				t.Errorf("host %s: got status %d and %q at the app (%v), want 200 and the path", host, status, got.URI, err)
			}
		}
	})
}

// TestPublicApp: a port without TLS right before an app, and what that says of its callers.
func TestPublicApp(t *testing.T) {
	t.Parallel()
	server := startApp(t)
	in := ir.Inbound{Listen: port(t), App: server.port, TLS: ir.None}
	startProxy(t, "/api", ir.Proxy{Inbound: []ir.Inbound{in}})
	status, got, err := raw(t, in.Listen, "GET //a/%2e%2e/b HTTP/1.1", "Host: app.test", "X-Forwarded-Client-Cert: URI="+own("/web"))
	if err != nil || status != 200 || got.URI != "/b" {
		t.Errorf("got status %d and %q at the app (%v), want 200 and /b", status, got.URI, err)
	}
	if diff := cmp.Diff([]string(nil), got.Header.Values("X-Forwarded-Client-Cert")); diff != "" {
		t.Errorf("the app saw X-Forwarded-Client-Cert (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/a%2f..%2fb", "/a%5cb"} {
		if status, _, err := raw(t, in.Listen, "GET "+path+" HTTP/1.1", "Host: app.test"); err != nil || status != 400 {
			t.Errorf("%s: got status %d (%v), want 400", path, status, err)
		}
	}
	if status, _, err := raw(t, in.Listen, "GET / HTTP/1.1", "Host: app.test", "X_A: b"); err != nil || status != 400 {
		t.Errorf("underscore: got status %d (%v), want 400", status, err)
	}
}

// raw sends these lines as they are, as a request without TLS and without a body.
func raw(t *testing.T, port uint16, lines ...string) (int, seen, error) {
	t.Helper()
	connection, err := net.Dial("tcp", local(port))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	if _, err := io.WriteString(connection, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return 0, seen{}, fmt.Errorf("send: %w", err)
	}
	return readAnswer(bufio.NewReader(connection))
}

// rawHTTP2 is a GET of a path as it is, without TLS.
func rawHTTP2(t *testing.T, port uint16, path string) (int, seen, error) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	request := &http.Request{Method: http.MethodGet, Host: "app.test", URL: &url.URL{Scheme: "http", Host: local(port), Opaque: path}}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return 0, seen{}, err
	}
	return answerOf(response)
}
