package envoy

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestPermissiveHTTP: mutual TLS is as strict as ever, plain text passes, and each plain request is in the log with its
// caller's address and in a counter that has no others.
func TestPermissiveHTTP(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	p.Inbound[0].TLS = ir.Permissive
	x := startProxy(t, p)
	x.waitReady()
	at := fmt.Sprintf("127.0.0.1:%d/x?token=secret", p.Inbound[0].Listen)

	expect(t, tlsClient(t, agent, "/valid"), "https://"+at, 200, "ok")
	if status, _, err := get(tlsClient(t, agent, "/other"), "https://"+at); err == nil {
		t.Errorf("a caller that is no peer got %d by TLS", status)
	}
	x.waitEvent("handshake_refused", map[string]string{"peer": "/other", "self": "/api", "reason": "SAN_match"})
	x.waitEvent("request", map[string]string{"peer": "/valid", "self": "/api", "status": "200"})

	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	for _, client := range []*http.Client{{}, {Transport: transport}} {
		request, err := http.NewRequest(http.MethodGet, "http://"+at, nil)
		must(t, err)
		request.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://example.org/valid")
		response, err := client.Do(request)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != 200 || response.Header.Get("Saw-Xfcc") != "" {
			t.Errorf("plain text: %s, the app saw the caller as %q", response.Status, response.Header.Get("Saw-Xfcc"))
		}
	}
	x.waitEvent("plain_request", map[string]string{"remote": "127.0.0.1:", "method": "GET", "path": "/x", "status": "200"})
	if got := len(x.events("request")); got != 1 {
		t.Errorf("%d lines of requests by TLS, want 1", got)
	}
	eventually(t, 3*time.Second, "a line for each plain request", func() error {
		lines := x.events("plain_request")
		for _, line := range lines {
			if line["peer"] != nil {
				return fmt.Errorf("a plain caller has an ID: %v", line)
			}
		}
		if len(lines) != 2 {
			return fmt.Errorf("%d lines", len(lines))
		}
		return nil
	})
	if got := x.statistic(fmt.Sprintf("http.plain_%d.downstream_rq_total", p.Inbound[0].Listen)); got != 2 {
		t.Errorf("counted %d plain requests, want 2", got)
	}
	if strings.Contains(x.out.String(), "secret") {
		t.Error("a query is in the log")
	}

	// The end of a migration.
	p.Inbound[0].TLS = ir.Mutual
	x.apply(p)
	eventually(t, time.Second, "the refusal of plain text", func() error {
		if status, _, err := get(&http.Client{Transport: &http.Transport{}}, "http://"+at); err == nil {
			return fmt.Errorf("got %d", status)
		}
		return nil
	})
	x.waitEvent("handshake_refused", map[string]string{"reason": "HTTP_REQUEST"})
	expect(t, tlsClient(t, agent, "/valid"), "https://"+at, 200, "ok")
}

// TestPermissiveTCP: as above, also for a server that speaks first, whose plain callers say nothing until it has.
func TestPermissiveTCP(t *testing.T) {
	t.Parallel()
	for _, greeting := range []string{"", "hello\n"} {
		agent, app := startAgent(t, "/db"), startTCPApp(t, greeting)
		p := ir.Proxy{ID: id("/db"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
			{Listen: freePort(t), App: app.port, Peers: peers(t, "/web"), Protocol: ir.TCP, TLS: ir.Permissive},
		}}
		x := startProxy(t, p)
		x.waitReady()
		at := fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen)
		dial := func(path string) (*tls.Conn, error) {
			return tls.Dial("tcp", at, tlsConfig(t, agent, id(path).String()))
		}

		plain, err := net.Dial("tcp", at)
		must(t, err)
		if err := roundTrip(plain, greeting, "ping"); err != nil {
			t.Errorf("plain text, greeting %q: %v", greeting, err)
		}
		plain.Close()
		x.waitEvent("plain_connection", map[string]string{"remote": "127.0.0.1:", "received": "4"})
		if got := x.statistic(fmt.Sprintf("tcp.plain_%d.downstream_cx_total", p.Inbound[0].Listen)); got != 1 {
			t.Errorf("counted %d plain connections, want 1", got)
		}
		secured, err := dial("/web")
		must(t, err)
		if err := roundTrip(secured, greeting, "ping"); err != nil {
			t.Errorf("mutual TLS, greeting %q: %v", greeting, err)
		}
		secured.Close()
		x.waitEvent("connection", map[string]string{"peer": "/web"})
		if err := x.refusedTCP(dial, "/other"); err != nil {
			t.Error(err)
		}
		x.waitEvent("handshake_refused", map[string]string{"peer": "/other", "reason": "SAN_match"})
		if got := len(x.events("plain_connection")); got != 1 {
			t.Errorf("%d lines of plain connections, want 1", got)
		}
	}
}
