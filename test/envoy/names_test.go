package envoy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestNames: the app calls names, each at an address of its own, where several may have one port, also one on which the
// app itself, or Envoy, listens. Host and port arrive as they were written, and DNS is asked for absolute names alone.
func TestNames(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api", "/db", "/web")
	callee := func(path string, protocol ir.Protocol, app uint16) uint16 {
		in := ir.Inbound{Listen: freePort(t), App: app, Peers: peers(t, "/web"), Protocol: protocol}
		startProxy(t, ir.Proxy{ID: id(path), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{in}}).waitReady()
		return in.Listen
	}
	api, db, plain := callee("/api", ir.HTTP, startHostApp(t)), callee("/db", ir.TCP, startGreeter(t, "db")), startGreeter(t, "plain")
	dns := startDNS(t)
	dns.set(&backend{address: netip.MustParseAddr("127.0.0.1")})

	_, own := listen(t) // of the app, on 127.0.0.1
	inbound := freePort(t)
	p := ir.Proxy{
		ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, ClusterDomain: "cluster.local",
		Inbound: []ir.Inbound{{Listen: inbound, App: own, Peers: peers(t, "/api")}},
		Upstreams: []ir.Upstream{
			{Address: parsed(t, fmt.Sprintf("api:%d", api)), Peers: peers(t, "/api"), Passthrough: []uint16{plain}},
			{Address: parsed(t, fmt.Sprintf("api.shop:%d", api)), Peers: peers(t, "/api"), Host: "fixed.example.org"},
			{Address: parsed(t, fmt.Sprintf("db.shop.svc:%d", db)), Peers: peers(t, "/db"), Protocol: ir.TCP},
			{Address: parsed(t, fmt.Sprintf("other.shop.svc:%d", api)), Peers: peers(t, "/db")}, // which it is not
			{Address: parsed(t, fmt.Sprintf("api.example.org:%d", api)), Peers: peers(t, "/api")},
			{Listen: freePort(t), Address: parsed(t, fmt.Sprintf("api:%d", api)), Peers: peers(t, "/api")},
		},
	}
	for i, name := range []string{"api", "api", "db.shop", "other", "api.example.org"} {
		var err error
		port := []uint16{own, inbound, own, own, own}[i]
		p.Upstreams[i].Name, p.Upstreams[i].Listen, err = ir.ParseName(fmt.Sprintf("%s:%d", name, port), "shop", "cluster.local")
		must(t, err)
	}
	p.PlaceNames()
	x := startProxy(t, p, dns.use(t))
	x.waitReady()

	at := func(up int) string { return fmt.Sprintf("%s:%d", p.Upstreams[up].ListenIP(), p.Upstreams[up].Listen) }
	ask := func(up int, host string, http2 bool) (status int, saw string, err error) {
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", at(up))
		}}
		transport.Protocols.SetUnencryptedHTTP2(http2)
		transport.Protocols.SetHTTP1(!http2)
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Timeout: 5 * time.Second, Transport: transport}).Get("http://" + host + "/")
		if err != nil {
			return 0, "", err
		}
		answer.Body.Close()
		return answer.StatusCode, answer.Header.Get("Saw-Host"), nil
	}
	for _, test := range []struct {
		up         int
		host, want string
		status     int
	}{
		{0, fmt.Sprintf("api:%d", own), "", 200},
		{0, fmt.Sprintf("api.shop.svc.cluster.local:%d", own), "", 200},
		{0, "api.shop", "", 200},
		{1, "api", "fixed.example.org", 200},
		{3, "other", "none", 503},
		{4, "api.example.org", "", 200},
		{5, fmt.Sprintf("127.0.0.1:%d", p.Upstreams[5].Listen), "api", 200},
	} {
		want := test.want
		switch want {
		case "":
			want = test.host
		case "none":
			want = ""
		}
		for _, http2 := range []bool{false, true} {
			eventually(t, 10*time.Second, "the Host "+want, func() error {
				status, saw, err := ask(test.up, test.host, http2)
				if err == nil && (status != test.status || saw != want) {
					err = fmt.Errorf("%s of upstream %d: got %d, the callee saw %q", test.host, test.up, status, saw)
				}
				return err
			})
		}
	}
	x.waitEvent("upstream_request", map[string]string{
		"listener": "upstream_" + at(0), "host": fmt.Sprintf("api:%d", own), "peer": id("/api").String(),
	})
	for address, want := range map[string]string{
		at(2): "db",
		fmt.Sprintf("%s:%d", p.Upstreams[0].Loopback, plain): "plain",
	} {
		eventually(t, 10*time.Second, "the greeting "+want, func() error {
			connection, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			defer connection.Close()
			greeting, err := io.ReadAll(connection)
			if err == nil && string(greeting) != want {
				err = fmt.Errorf("got %q", greeting)
			}
			return err
		})
	}
	t.Run("resolvers", func(t *testing.T) { callByResolvers(t, p.NamedHosts(), "api", own) })

	dns.mu.Lock()
	defer dns.mu.Unlock()
	want := []string{
		"api.example.org", "api.shop.svc.cluster.local", "db.shop.svc.cluster.local", "other.shop.svc.cluster.local",
	}
	if asked := slices.Sorted(maps.Keys(dns.asked)); !slices.Equal(asked, want) {
		t.Errorf("asked DNS for %q, want %q", asked, want)
	}
}

// startGreeter speaks first, and closes.
func startGreeter(t *testing.T, text string) uint16 {
	t.Helper()
	listener, port := listen(t)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(connection, text)
			connection.Close()
		}
	}()
	return port
}
