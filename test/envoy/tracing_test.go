package envoy

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// parentOf is the header by which a request belongs to a trace.
func parentOf(sampled string) (header, trace, id string) {
	trace, id = strings.Repeat("ab", 16), strings.Repeat("cd", 8)
	return "00-" + trace + "-" + id + "-" + sampled, trace, id
}

// tracedMesh is a caller's Envoy and a server's, which both send their spans to one collector.
func tracedMesh(t *testing.T, tracing ir.Tracing, a *agent) (api, web ir.Proxy, apiX, webX *proxy, url string) {
	t.Helper()
	api = apiProxy(t, a, "/web")
	api.Tracing = tracing
	public := ir.Inbound{Listen: freePort(t), App: api.Inbound[0].App, TLS: ir.None}
	api.Inbound = append(api.Inbound, public)
	web = ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: a.socket, Tracing: tracing, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api")},
	}}
	apiX, webX = startProxy(t, api), startProxy(t, web)
	apiX.waitReady()
	webX.waitReady()
	return api, web, apiX, webX, fmt.Sprintf("http://127.0.0.1:%d", web.Upstreams[0].Listen)
}

// TestTraces: a request of two hops is one trace, with the IDs of both sides and without the query; it follows the
// decision of the app, but not that of the public.
func TestTraces(t *testing.T) {
	t.Parallel()
	a, c := startAgent(t, "/api", "/web"), startCollector(t, nil)
	api, web, apiX, webX, url := tracedMesh(t, ir.Tracing{Collector: address(t, c.port), Percent: 100}, a)
	client := &http.Client{Timeout: 5 * time.Second}

	const request = "3f6c2a1e-0c52-4c6e-9c2e-1d2f3a4b5c6d"
	response, _ := ask(t, client, url+"/begins?token=secret", "", "X-Request-Id", request)
	if saw := response.Header.Get("Saw-Request-Id"); response.StatusCode != http.StatusOK || saw != request {
		t.Fatalf("got %s, the app saw X-Request-Id %q", response.Status, saw)
	}
	spans := c.wait(t, "/begins", 2)
	first, second := spans[0], spans[1]
	if first.kind != kindClient {
		first, second = second, first
	}
	for _, s := range []struct {
		span
		kind          uint64
		self, peer    string
		trace, parent string
	}{
		{first, kindClient, "spiffe://example.org/web", "spiffe://example.org/api", first.trace, ""},
		{second, kindServer, "spiffe://example.org/api", "spiffe://example.org/web", first.trace, first.id},
	} {
		if s.span.kind != s.kind || s.service != s.self || s.attributes["spiffe.self"] != s.self || s.attributes["spiffe.peer"] != s.peer ||
			s.span.trace != s.trace || s.span.parent != s.parent || s.name != http.MethodGet {
			t.Errorf("got %+v, want %+v", s.span, s)
		}
		if strings.Contains(fmt.Sprint(s.attributes), "secret") {
			t.Errorf("the query is in %v", s.attributes)
		}
	}

	header, trace, parent := parentOf("01")
	ask(t, client, url+"/sampled", "", "traceparent", header)
	for _, s := range c.wait(t, "/sampled", 2) {
		if s.trace != trace || s.kind == kindClient && s.parent != parent {
			t.Errorf("got %+v, want it in the app's trace", s)
		}
	}
	header, _, _ = parentOf("00")
	ask(t, client, url+"/unsampled", "", "traceparent", header)
	ask(t, client, fmt.Sprintf("http://127.0.0.1:%d/public", api.Inbound[1].Listen), "", "traceparent", header)
	if s := c.wait(t, "/public", 1)[0]; s.trace == trace || s.parent != "" || s.attributes["spiffe.peer"] != "" {
		t.Errorf("got %+v, want a trace of its own and no peer", s)
	}

	// Off on running Envoys: nothing more is sent.
	api.Tracing, web.Tracing = ir.Tracing{}, ir.Tracing{}
	apiX.apply(api)
	webX.apply(web)
	eventually(t, 5*time.Second, "the end of the traces", func() error {
		if n := webX.statistic("cluster.traces.membership_total"); n > 0 {
			return fmt.Errorf("%d collectors", n)
		}
		return nil
	})
	time.Sleep(time.Second)
	ask(t, client, url+"/off", "")
	time.Sleep(7 * time.Second) // longer than Envoy keeps spans
	for _, path := range []string{"/unsampled", "/off"} {
		if got := c.of(path); len(got) > 0 {
			t.Errorf("%s: got %+v, want nothing", path, got)
		}
	}
}

// TestNothingIsSampled at 0 percent but what the app samples itself; the collector is reached by mTLS, and only with
// its identity.
func TestNothingIsSampled(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "/api", "/web")
	config := tlsConfig(t, a, "spiffe://example.org/otel")
	config.ClientAuth = tls.RequireAnyClientCert
	c := startCollector(t, config)
	_, _, _, webX, url := tracedMesh(t, ir.Tracing{Collector: address(t, c.port), Peers: peers(t, "/otel")}, a)
	client := &http.Client{Timeout: 5 * time.Second}
	for _, headers := range [][]string{nil, {"x-client-trace-id", "1"}, {"x-envoy-force-trace", "true"}} {
		ask(t, client, url+"/none", "", headers...)
	}
	header, _, _ := parentOf("01")
	ask(t, client, url+"/forced", "", "traceparent", header)
	c.wait(t, "/forced", 2)
	if got := c.of("/none"); len(got) > 0 {
		t.Errorf("got %+v, want nothing", got)
	}
	if n := webX.statistic("cluster.traces.ssl.handshake"); n < 1 {
		t.Errorf("%d handshakes with the collector", n)
	}
}
