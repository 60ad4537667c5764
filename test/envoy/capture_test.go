package envoy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/capture"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestCapturedPorts: an app that listens on all addresses is called on its own port, by IPv4 and IPv6, and whoever
// calls comes to Envoy, which sees their addresses. The gate is open when there are rules, and Envoy is ready.
func TestCapturedPorts(t *testing.T) {
	t.Parallel()
	agent, l := startAgent(t, "/api", "/valid", "/invalid"), newLink(t)
	hosts := map[string]string{callerIP: calleeIP, "fd77::1": "fd77::2"}
	must(t, l.caller.IP(t.Context(), "address add fd77::1/64 dev eth0 nodad"))
	must(t, l.callee.IP(t.Context(), "address add fd77::2/64 dev eth0 nodad"))
	const app, listen, oldApp, permissive, gate = 8080, 8443, 8081, 8444, 15025
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	for _, port := range []int{app, oldApp} {
		listener := listenIn(t, l.callee, fmt.Sprintf(":%d", port))
		go func() { _ = http.Serve(listener, answer) }()
	}
	x := startProxyIn(t, l.callee, ir.Proxy{
		ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, IPFamily: ir.DualStack,
		Inbound: []ir.Inbound{
			{Listen: listen, App: app, Peers: peers(t, "/valid")},
			{Listen: permissive, App: oldApp, Peers: peers(t, "/valid"), TLS: ir.Permissive},
		},
	})
	x.waitReady()
	_, text, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(x.ready, "http://"), "/ready"), ":")
	readiness, err := strconv.ParseUint(text, 10, 16)
	must(t, err)
	as := func(path string) *http.Client {
		client := tlsClient(t, agent, path)
		client.Transport.(*http.Transport).DialContext = l.caller.Dial
		return client
	}
	at := func(scheme, host string, port int) string {
		return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/"
	}
	denied := func(client *http.Client, url string) {
		t.Helper()
		if status, body, err := get(client, url); err == nil {
			t.Errorf("%s: expected no answer, got %d %q", url, status, body)
		}
	}
	for _, host := range hosts {
		expect(t, clientIn(l.caller), at("http", host, app), 200, "ok") // as long as nothing is captured
		denied(clientIn(l.caller), at("http", host, gate))
	}
	rules := capture.Rules{Redirects: []capture.Redirect{
		{From: app, To: listen}, {From: oldApp, To: permissive}, {From: gate, To: uint16(readiness)},
	}}
	must(t, l.callee.Do(func() error { return capture.Apply(t.Context(), rules, ir.DualStack) }))
	for caller, host := range hosts {
		expect(t, clientIn(l.caller), at("http", host, gate)+"ready", 200, "")
		expect(t, as("/valid"), at("https", host, app), 200, "ok")
		denied(as("/invalid"), at("https", host, app))
		denied(clientIn(l.caller), at("http", host, app))
		expect(t, as("/valid"), at("https", host, oldApp), 200, "ok")
		expect(t, clientIn(l.caller), at("http", host, oldApp), 200, "ok")
		remote := strings.TrimSuffix(net.JoinHostPort(caller, "0"), "0")
		for _, event := range []string{"request", "plain_request", "handshake_refused"} {
			x.waitEvent(event, map[string]string{"remote": remote})
		}
		expect(t, clientIn(l.callee), at("http", host, app), 200, "ok") // from inside, past Envoy
	}
	expect(t, clientIn(l.callee), at("http", "127.0.0.1", app), 200, "ok")
}
