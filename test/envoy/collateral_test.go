package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// oddRequests are those of a stranger, or of an app of ours, in HTTP/1.1. HTTP/2 allows none of most of them.
var oddRequests = map[string]string{
	"a WebSocket":              "GET / HTTP/1.1\r\nHost: x.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"another upgrade":          "GET / HTTP/1.1\r\nHost: x.org\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
	"an upgrade to HTTP/2":     "GET / HTTP/1.1\r\nHost: x.org\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
	"an empty host":            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"a user":                   "GET / HTTP/1.1\r\nHost: u@x.org\r\n\r\n",
	"a user and a password":    "GET / HTTP/1.1\r\nHost: u:p@x.org:80\r\n\r\n",
	"a user in the URL":        "GET http://u@x.org/ HTTP/1.1\r\nHost: x.org\r\n\r\n",
	"a space in the host":      "GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
	"a tab in the host":        "GET / HTTP/1.1\r\nHost: x\ty\r\n\r\n",
	"a control character":      "GET / HTTP/1.1\r\nHost: x\x01y\r\n\r\n",
	"a host beyond ASCII":      "GET / HTTP/1.1\r\nHost: sh\xc3\xb6p.org\r\n\r\n",
	"a path in the host":       "GET / HTTP/1.1\r\nHost: x.org/y\r\n\r\n",
	"two hosts":                "GET / HTTP/1.1\r\nHost: x.org\r\nHost: y.org\r\n\r\n",
	"a list of hosts":          "GET / HTTP/1.1\r\nHost: x.org, y.org\r\n\r\n",
	"no host":                  "GET / HTTP/1.1\r\n\r\n",
	"a path beyond ASCII":      "GET /\xc3\xb6 HTTP/1.1\r\nHost: x.org\r\n\r\n",
	"a fragment":               "GET /x#y HTTP/1.1\r\nHost: x.org\r\n\r\n",
	"a space in the path":      "GET /x y HTTP/1.1\r\nHost: x.org\r\n\r\n",
	"an asterisk":              "OPTIONS * HTTP/1.1\r\nHost: x.org\r\n\r\n",
	"another method":           "BAN / HTTP/1.1\r\nHost: x.org\r\n\r\n",
	"CONNECT":                  "CONNECT x.org:443 HTTP/1.1\r\nHost: x.org:443\r\n\r\n",
	"other trailers":           "GET / HTTP/1.1\r\nHost: x.org\r\nTE: gzip\r\n\r\n",
	"a header of a connection": "GET / HTTP/1.1\r\nHost: x.org\r\nConnection: x-any\r\nX-Any: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n\r\n",
	"another coding":           "POST / HTTP/1.1\r\nHost: x.org\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"two lengths":              "POST / HTTP/1.1\r\nHost: x.org\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
	"a length and a coding":    "POST / HTTP/1.1\r\nHost: x.org\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a body that is too short": "POST / HTTP/1.1\r\nHost: x.org\r\nContent-Length: 5\r\n\r\nx",
	"a chunk that is none":     "POST / HTTP/1.1\r\nHost: x.org\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"trailers":                 "POST / HTTP/1.1\r\nHost: x.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: x\r\n:path: /\r\n\r\n",
	"a header like a path":     "GET / HTTP/1.1\r\nHost: x.org\r\n:path: /y\r\n\r\n",
	"signs in a name":          "GET / HTTP/1.1\r\nHost: x.org\r\nX!#$%&'*+.^`|~: y\r\n\r\n",
	"a value beyond ASCII":     "GET / HTTP/1.1\r\nHost: x.org\r\nX-Any: \xff\r\n\r\n",
	"an expectation":           "GET / HTTP/1.1\r\nHost: x.org\r\nExpect: 200-ok\r\n\r\n",
	"many headers":             "GET / HTTP/1.1\r\nHost: x.org\r\n" + strings.Repeat("X-Any: y\r\n", 95) + "\r\n",
	"a long header":            "GET / HTTP/1.1\r\nHost: x.org\r\nX-Any: " + strings.Repeat("y", 30<<10) + "\r\n\r\n",
	"no HTTP":                  "hello\r\n\r\n",
}

// oddHosts are those of them that a public port answers itself.
var oddHosts = []string{"an empty host", "a user", "a user and a password", "a space in the host", "a tab in the host",
	"a control character", "a host beyond ASCII", "a path in the host", "two hosts", "no host"}

// oddAnswers are those of an app that speaks HTTP/1.1, by the path that is asked for.
var oddAnswers = map[string]string{
	"/upgrade":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello",
	"/early":    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"/low":      "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
	"/high":     "HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n",
	"/body":     "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
	"/short":    "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
	"/two":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
	"/connect":  "HTTP/1.1 200 OK\r\nConnection: x-any\r\nX-Any: y\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nContent-Length: 0\r\n\r\n",
	"/coding":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"/pseudo":   "HTTP/1.1 200 OK\r\n:status: 404\r\nContent-Length: 0\r\n\r\n",
	"/signs":    "HTTP/1.1 200 OK\r\nX!#$%&'*+.^`|~: y\r\nContent-Length: 0\r\n\r\n",
	"/beyond":   "HTTP/1.1 200 OK\r\nX-Any: \xff\r\nContent-Length: 0\r\n\r\n",
	"/control":  "HTTP/1.1 200 OK\r\nX-Any: x\x01y\r\nContent-Length: 0\r\n\r\n",
	"/space":    "HTTP/1.1 200 OK\r\nX Any: y\r\nContent-Length: 0\r\n\r\n",
	"/trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: x\r\n:status: 404\r\n\r\n",
	"/many":     "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Any: y\r\n", 300) + "Content-Length: 0\r\n\r\n",
	"/long":     "HTTP/1.1 200 OK\r\nX-Any: " + strings.Repeat("y", 100<<10) + "\r\nContent-Length: 0\r\n\r\n",
	"/no-http":  "hello\r\n\r\n",
	"/nothing":  "",
}

// cutOff are those of them that only the end of the connection ends.
var cutOff = []string{"/short", "/nothing"}

// startOddApp answers by the path: with an odd answer, after release for /hold, and else with "ok".
func startOddApp(t *testing.T, release chan struct{}) uint16 {
	t.Helper()
	listener, port := listen(t)
	go serveEach(listener, func(connection net.Conn) {
		// Where no answer says that the connection ends, the next request may come over it.
		for requests := bufio.NewReader(connection); ; {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			if request.URL.Path == "/hold" {
				<-release
			}
			answer, odd := oddAnswers[request.URL.Path]
			if !odd {
				answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
			}
			_, _ = io.WriteString(connection, answer)
			if !odd || slices.Contains(cutOff, request.URL.Path) {
				return
			}
		}
	})
	return port
}

// TestOddMessagesEndOnlyThemselves: a request that shares the connection of others to the callee, and its answer, are
// no concern of theirs, whatever HTTP/2 says of it.
func TestOddMessagesEndOnlyThemselves(t *testing.T) {
	t.Parallel()
	for _, protocol := range []ir.Protocol{ir.HTTP2, ir.GRPC} {
		for _, path := range []string{"/web", "/edge"} {
			t.Run(fmt.Sprintf("%s by %s", path, protocol), func(t *testing.T) {
				t.Parallel()
				at, held, release := startShared(t, path, protocol)
				check := func(what, request string) int {
					status := sendRaw(t, at, request)
					t.Logf("%s: %d", what, status)
					expect(t, http.DefaultClient, "http://"+at+"/", 200, "ok")
					select {
					case err := <-held:
						t.Errorf("%s: a request of another has ended: %v", what, err)
						go func() { held <- hold(at) }()
					default:
					}
					return status
				}
				for odd, request := range oddRequests {
					status := check(odd, request)
					if path == "/edge" && slices.Contains(oddHosts, odd) && status != 400 {
						t.Errorf("%s at a public port: got %d, want 400", odd, status)
					}
				}
				for path := range oddAnswers {
					check(path, "GET "+path+" HTTP/1.1\r\nHost: x.org\r\n\r\n")
				}
				close(release)
				if err := <-held; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// startShared has a service behind a sidecar, or a gateway without TLS, that share one connection to it. It returns
// where to call, and a request under way that ends with an error, or when it is released.
func startShared(t *testing.T, path string, protocol ir.Protocol) (at string, held chan error, release chan struct{}) {
	t.Helper()
	agent := startAgent(t, "/api", path)
	release = make(chan struct{})
	api := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: startOddApp(t, release), Peers: peers(t, path)},
	}}
	callee := startProxy(t, api)
	callee.waitReady()
	up := ir.Upstream{Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api"), Protocol: protocol}
	caller := ir.Proxy{ID: id(path), SVIDTTL: time.Hour, AgentSocket: agent.socket}
	port := freePort(t)
	if path == "/edge" {
		caller.Gateway, caller.Inbound = true, []ir.Inbound{{Listen: port, TLS: ir.None}}
		up.Match = match(t, "/")
	} else {
		up.Listen = port
	}
	caller.Upstreams = []ir.Upstream{up}
	startProxy(t, caller).waitReady()
	at = fmt.Sprintf("127.0.0.1:%d", port)
	held = make(chan error)
	go func() { held <- hold(at) }()
	eventually(t, 5*time.Second, "the held request", func() error {
		if got := callee.statistic(fmt.Sprintf("http.inbound_%d.downstream_rq_active", api.Inbound[0].Listen)); got < 1 {
			return fmt.Errorf("%d requests are active", got)
		}
		return nil
	})
	return at, held, release
}

// hold is a request that is answered when it is released.
func hold(at string) error {
	status, body, err := get(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+at+"/hold")
	if err == nil && status != 200 {
		err = fmt.Errorf("got %d %q", status, body)
	}
	return err
}

// sendRaw sends a request as it is written and nothing more, and returns the status of the last answer, 0 if there is none.
func sendRaw(t *testing.T, at, request string) int {
	t.Helper()
	connection, err := net.Dial("tcp", at)
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(time.Second)))
	_, err = io.WriteString(connection, request)
	must(t, err)
	reader := bufio.NewReader(connection)
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return 0
		}
		if response.StatusCode >= 200 || response.StatusCode == 101 {
			return response.StatusCode
		}
	}
}
