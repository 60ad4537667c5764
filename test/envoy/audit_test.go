package envoy

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestAuditHTTP: every caller of the trust domain passes, those that are no peers are told apart in log and counter,
// and the running Envoy goes from audit to enforcement and back.
func TestAuditHTTP(t *testing.T) {
	t.Parallel()
	agent, stranger := startAgent(t, "/api"), startAgent(t)
	p := apiProxy(t, agent, "/valid")
	p.Inbound[0].Audit = true
	x := startProxy(t, p)
	x.waitReady()
	url := fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)
	denied := fmt.Sprintf("http.inbound_%d.rbac.shadow_denied", p.Inbound[0].Listen)

	expect(t, tlsClient(t, agent, "/valid"), url, 200, "ok")
	expect(t, tlsClient(t, agent, "/other"), url, 200, "ok")
	x.waitEvent("request", map[string]string{"peer": "/valid", "status": "200", "audit": "allowed"})
	x.waitEvent("request", map[string]string{"peer": "/other", "status": "200", "audit": "denied"})
	if got := x.statistic(denied); got != 1 {
		t.Errorf("%s is %d, want 1", denied, got)
	}
	if status, _, err := get(tlsClient(t, stranger, "/valid"), url); err == nil {
		t.Errorf("a caller of an unknown authority got %d", status)
	}
	x.waitEvent("handshake_refused", map[string]string{"reason": "CERTIFICATE_VERIFY_FAILED"})

	open := tlsClient(t, agent, "/other")
	expect(t, open, url, 200, "ok")
	enforced := p
	enforced.Inbound = []ir.Inbound{p.Inbound[0]}
	enforced.Inbound[0].Audit = false
	x.apply(enforced)
	eventually(t, time.Second, "the refusal of a new connection", func() error {
		if status, _, err := get(tlsClient(t, agent, "/other"), url); err == nil && status == 200 {
			return fmt.Errorf("got %d", status)
		}
		return nil
	})
	if status, _, err := get(open, url); err == nil && status != 403 {
		t.Errorf("the open connection: got %d", status)
	}
	expect(t, tlsClient(t, agent, "/valid"), url, 200, "ok")
	x.apply(p)
	eventually(t, time.Second, "the return to audit", answers(tlsClient(t, agent, "/other"), url, 200))
}

func TestAuditTCP(t *testing.T) {
	t.Parallel()
	agent, app := startAgent(t, "/db"), startTCPApp(t, "hello\n")
	p := ir.Proxy{ID: id("/db"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app.port, Peers: peers(t, "/web"), Protocol: ir.TCP, Audit: true},
	}}
	x := startProxy(t, p)
	x.waitReady()
	for _, path := range []string{"/web", "/other"} {
		connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen), tlsConfig(t, agent, id(path).String()))
		must(t, err)
		if err := roundTrip(connection, "hello\n", "ping"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		connection.Close()
	}
	x.waitEvent("connection", map[string]string{"peer": "/web", "audit": "allowed"})
	x.waitEvent("connection", map[string]string{"peer": "/other", "audit": "denied"})
	denied := fmt.Sprintf("inbound_%d.rbac.shadow_denied", p.Inbound[0].Listen)
	if got := x.statistic(denied); got != 1 {
		t.Errorf("%s is %d, want 1", denied, got)
	}
}
