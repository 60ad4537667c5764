package envoy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// deniesWhatItLooksAt changes the configuration such that a request whose deadline is looked at is denied, whatever the
// deadline is: Envoy does not choose its route again.
func deniesWhatItLooksAt(t *testing.T) func(dir string) {
	return func(dir string) {
		path := filepath.Join(dir, templates.ListenersFile)
		raw, err := os.ReadFile(path)
		must(t, err)
		text := strings.ReplaceAll(string(raw), "clearRouteCache: true", "clearRouteCache: false")
		if text == string(raw) {
			t.Errorf("%s has no filter that has the route chosen again", path)
		}
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// http1Only is a caller without Envoy, on one connection as long as that lasts.
func http1Only(config *tls.Config) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
}

func http2Only(port uint16, config *tls.Config) *http.Client {
	return http2Client(tlsDialer(port, config))
}

// TestWhoseDeadlineIsLookedAt: of the requests of callers whose certificates last for half of the server's TTL none is
// looked at, with and without Envoy, nor of those without a certificate, until the connection is older than it has to be
// for its requests to end in time. Of the others each is.
func TestWhoseDeadlineIsLookedAt(t *testing.T) {
	t.Parallel()
	const ttl = 40 * time.Second
	agent, app := startAgent(t, "/api", "/web"), startStreamApp(t)
	p := ir.Proxy{ID: id("/api"), SVIDTTL: ttl, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app, Peers: peers(t, "/web")},
		{Listen: freePort(t), App: app, Peers: peers(t, "/web"), Clients: ir.Request},
		{Listen: freePort(t), App: app, Peers: peers(t, "/web"), TLS: ir.Permissive},
	}}
	web := ir.Proxy{ID: id("/web"), SVIDTTL: ttl, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, p.Inbound[0].Listen), Peers: peers(t, "/api")},
	}}
	x, caller := startProxy(t, p, deniesWhatItLooksAt(t)), startProxy(t, web)
	x.waitReady()
	caller.waitReady()
	url := func(port uint16) string { return fmt.Sprintf("https://127.0.0.1:%d/short", port) }
	expect(t, &http.Client{}, fmt.Sprintf("http://127.0.0.1:%d/short", web.Upstreams[0].Listen), 200, "")
	expect(t, anonymous(), url(p.Inbound[1].Listen), 200, "")
	for _, in := range p.Inbound {
		for left, want := range map[time.Duration]int{
			ttl/2 - time.Second: 403, ttl/2 + 5*time.Second: 200, time.Hour: 200,
		} {
			config, body := callerUntil(t, agent, "/web", left), ""
			if want == 403 {
				body = "certificate expired"
			}
			expect(t, http1Only(config), url(in.Listen), want, body)
			expect(t, http2Only(in.Listen, config), strings.Replace(url(in.Listen), "https", "http", 1), want, body)
		}
	}
	// Requests may begin for 8 s: 2 that the connection is fresh, a second of grace, and 5 of rest.
	dial := tlsDialer(p.Inbound[0].Listen, callerUntil(t, agent, "/web", time.Hour))
	for lasts, want := range map[string]int{"6s": 200, "8.5s": 403} {
		connection, reader, response := raw(t, dial, nil, "GET /events?for="+lasts+" HTTP/1.1")
		_, err := io.Copy(io.Discard, response.Body)
		must(t, err)
		if response := askAgain(t, connection, reader, nil, "GET /short HTTP/1.1"); response.StatusCode != want {
			t.Errorf("a request after one that lasted for %s: got %s, want %d", lasts, response.Status, want)
		}
	}
}

// TestDeadlineIsOfTheConnection: callers say in vain how old their connection is, and how long requests may last. It makes
// them neither longer nor shorter, and the app sees nothing of it.
func TestDeadlineIsOfTheConnection(t *testing.T) {
	t.Parallel()
	const left = 6 * time.Second
	agent := startAgent(t, "/api")
	seen := make(chan http.Header, 10)
	listener, port := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	p := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: startStreamApp(t), Peers: peers(t, "/web")},
		{Listen: freePort(t), App: port, Peers: peers(t, "/web")},
		{Listen: freePort(t), App: startStreamApp(t), Peers: peers(t, "/web"), Protocol: ir.GRPC},
	}}
	startProxy(t, p).waitReady()
	says := func(milliseconds string) http.Header {
		return http.Header{"X-Spire-Injector-Age": {"00"}, "X-Envoy-Upstream-Stream-Duration-Ms": {milliseconds}}
	}
	early := func() *tls.Config { return callerUntil(t, agent, "/web", left) }
	long := openResponse(t, tlsDialer(p.Inbound[0].Listen, early()), says("3600000"))
	long2 := openHTTP2(t, tlsDialer(p.Inbound[2].Listen, early()), says("3600000"))
	lasts := openResponse(t, tlsDialer(p.Inbound[0].Listen, callerUntil(t, agent, "/web", time.Hour)), says("1000"))
	for _, s := range []*stream{long, long2} {
		if life := s.life(t, 30*time.Second); life > left+slack || life < left-2*time.Second-slack {
			t.Errorf("%s lived for %s, want nearly %s", s.kind, life, left)
		}
	}
	if err := lasts.alive(); err != nil {
		t.Errorf("a caller whose certificate lasts: %v", err)
	}
	for _, config := range []*tls.Config{early(), callerUntil(t, agent, "/web", time.Hour)} {
		connection, reader, _ := raw(t, tlsDialer(p.Inbound[1].Listen, config), says("3600000"), "GET /a HTTP/1.1")
		askAgain(t, connection, reader, nil, "GET /b HTTP/1.1")
		for range 2 {
			header := <-seen
			for name := range header {
				if lower := strings.ToLower(name); strings.Contains(lower, "injector") || strings.Contains(lower, "duration") {
					t.Errorf("the app sees %s: %s", name, header.Get(name))
				}
			}
		}
	}
}

// TestRoutesOfCallersThatEndEarly: at a gateway each request goes where it would anyway, until the certificate has
// expired.
func TestRoutesOfCallersThatEndEarly(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	client := http1Only(callerUntil(t, e.agent, "/client", 20*time.Second))
	ask := func(path string) (status int, by string) {
		response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d%s", e.mutual, path))
		must(t, err)
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		by, _, _ = strings.Cut(strings.TrimPrefix(response.Header.Get("Saw-Xfcc"), "By=spiffe://example.org"), ";")
		return response.StatusCode, by
	}
	for _, test := range []struct {
		path   string
		status int
		by     string
	}{{"/web", 200, "/web"}, {"/web/api", 200, "/api"}, {"/nowhere", 404, ""}, {"/impostor", 503, ""}} {
		if status, by := ask(test.path); status != test.status || by != test.by {
			t.Errorf("%s: got %d by %q, want %d by %q", test.path, status, by, test.status, test.by)
		}
	}
	const left = 4 * time.Second
	connection, reader, first := raw(t, tlsDialer(e.mutual, callerUntil(t, e.agent, "/client", left)), nil, "GET /web HTTP/1.1")
	_, err := io.Copy(io.Discard, first.Body)
	must(t, err)
	time.Sleep(left)
	if response := askAgain(t, connection, reader, nil, "GET /web HTTP/1.1"); response.StatusCode != http.StatusForbidden {
		t.Errorf("a request after the end of the certificate: got %s, want 403", response.Status)
	}
	e.proxy.waitEvent("request", map[string]string{"status": "403", "details": "direct_response"})
}

// TestIdleTimeoutOfCallersThatEndEarly: of time-outs too the route has its say that is chosen in the end.
func TestIdleTimeoutOfCallersThatEndEarly(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/edge", "/api")
	listener, port := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	api := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: port, Peers: peers(t, "/edge")},
	}}
	edge := ir.Proxy{ID: id("/edge"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Gateway: true,
		Inbound: []ir.Inbound{{Listen: freePort(t), Peers: peers(t, "/client")}},
		Upstreams: []ir.Upstream{{
			Match: match(t, "/"), Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api"),
			Resilience: ir.Resilience{IdleTimeout: time.Second},
		}},
	}
	startProxy(t, api).waitReady()
	startProxy(t, edge).waitReady()
	for _, left := range []time.Duration{time.Minute, time.Hour} {
		client := http1Only(callerUntil(t, agent, "/client", left))
		if status, body, err := get(client, fmt.Sprintf("https://127.0.0.1:%d/", edge.Inbound[0].Listen)); err != nil || status != http.StatusGatewayTimeout {
			t.Errorf("a caller whose certificate lasts for %s: got %d %q %v, want 504", left, status, body, err)
		}
	}
}
