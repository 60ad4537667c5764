package conformance

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestTwoIDs: a federated domain's CA puts one of our IDs beside one of its own into a certificate, which no SPIRE
// server does. Envoy looks for the bundle of the first URI, and takes each for the peer's ID. Nobody may use that to be
// one of ours.
func TestTwoIDs(t *testing.T) {
	t.Parallel()
	forge := func(first, second string) *tls.Config {
		return showing(shared.partner.root.sign(t, uris(t, first, second)))
	}
	server, tcp := startApp(t), startEcho(t)
	list := map[string]ir.Inbound{
		"ours":      {App: server.port, Peers: peers(t, "/web", "/ns/prod/*")},
		"both":      {App: server.port, Peers: peers(t, "/web", "/ns/prod/*", partner("/web"))},
		"all":       {App: server.port, Peers: peers(t, "/*", partner("/*"))},
		"audit":     {App: server.port, Peers: peers(t, "/web"), Audit: true},
		"TCP ours":  {App: tcp.port, Peers: peers(t, "/web", "/ns/prod/*"), Protocol: ir.TCP},
		"TCP both":  {App: tcp.port, Peers: peers(t, "/web", "/ns/prod/*", partner("/web")), Protocol: ir.TCP},
		"TCP audit": {App: tcp.port, Peers: peers(t, "/web"), Protocol: ir.TCP, Audit: true},
	}
	var p ir.Proxy
	servers := map[uint16]*counterpart{}
	for _, ids := range [][]string{{partner("/x"), own("/api")}, {own("/api"), partner("/x")}} {
		server := startCounterpart(t, shared.partner.root.sign(t, uris(t, ids...)), nil)
		up := ir.Upstream{Listen: port(t), Address: address(t, server.port), Peers: peers(t, "/api")}
		p.Upstreams = append(p.Upstreams, up)
		servers[up.Listen] = server
	}
	for name, in := range list {
		in.Listen = port(t)
		list[name] = in
		p.Inbound = append(p.Inbound, in)
	}
	startProxy(t, "/api", p)
	for name, in := range list {
		for _, config := range []*tls.Config{
			forge(partner("/web"), own("/web")), forge(own("/web"), partner("/web")), forge(partner("/x"), own("/ns/prod/a")),
		} {
			if got, err := exchange(in.Listen, config); err == nil {
				t.Errorf("%s: got %q, want no answer of the app", name, got)
			}
		}
		if _, err := exchange(in.Listen, showing(shared.own.svid(t, "/web"))); err != nil {
			t.Errorf("%s: expected the peer to be served, got: %v", name, err)
		}
	}
	for listen, server := range servers {
		if answer := ask(t, listen); answer == "ok" || reached(server) {
			t.Errorf("upstream: got %q of a server that is not ours", answer)
		}
	}
	if got := server.requests.Load(); got != 4 {
		t.Errorf("%d requests reached the app, want those of the peer", got)
	}
}

// exchange sends a request, and returns the first bytes of what comes back.
func exchange(port uint16, config *tls.Config) (string, error) {
	connection, err := dial(port, config)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"); err != nil {
		return "", err
	}
	answer := make([]byte, 16)
	n, err := connection.Read(answer)
	return string(answer[:n]), err
}

func reached(server *counterpart) bool {
	_, states := server.done()
	return len(states) > 0
}
