package envoy

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// startHostApp answers with the Host that it saw. It speaks HTTP/1.1 and HTTP/2, and accepts web sockets.
func startHostApp(t *testing.T) uint16 {
	t.Helper()
	listener, port := listen(t)
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Saw-Host", r.Host)
		if r.Header.Get("Upgrade") != "" {
			echo(w)
		}
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return port
}

// sawHost asks once with a Host, by HTTP/1.1 or HTTP/2.
func sawHost(port uint16, host string, http2 bool) (string, error) {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(http2)
	transport.Protocols.SetHTTP1(!http2)
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	response, err := (&http.Client{Timeout: 5 * time.Second, Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	response.Body.Close()
	return response.Header.Get("Saw-Host"), nil
}

// TestHost: what the app calls itself never reaches the callee, what it calls the callee does, unless the upstream says
// what is sent.
func TestHost(t *testing.T) {
	t.Parallel()
	agent, app := startAgent(t, "/api", "/web"), startHostApp(t)
	in := ir.Inbound{Listen: freePort(t), App: app, Peers: peers(t, "/web")}
	startProxy(t, ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{in}}).waitReady()
	dns := startDNS(t)
	dns.set(&backend{address: netip.MustParseAddr("127.0.0.1")})
	up := func(host, text string, protocol ir.Protocol) ir.Upstream {
		return ir.Upstream{Listen: freePort(t), Address: parsed(t, text), Peers: peers(t, "/api"), Host: host, Protocol: protocol}
	}
	name := fmt.Sprintf("%s:%d", backendName, in.Listen)
	ip := fmt.Sprintf("127.0.0.1:%d", in.Listen)
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		up("", name, ir.HTTP), up("", name, ir.HTTP2), up("", ip, ir.HTTP), up("shop.example.org:8443", name, ir.HTTP), up("shop.example.org", ip, ir.HTTP2),
		up("", fmt.Sprintf("%s.:%d", backendName, in.Listen), ir.HTTP),
	}}
	x := startProxy(t, p, dns.use(t))
	x.waitReady()
	eventually(t, 10*time.Second, "the name of the upstream", func() error {
		_, err := sawHost(p.Upstreams[1].Listen, "", true)
		if got, _ := sawHost(p.Upstreams[0].Listen, "", false); got == "" {
			err = errors.Join(err, errors.New("no answer"))
		}
		return err
	})
	const own = "127.0.0.1"
	for i, test := range []struct{ loopback, other string }{
		{backendName, "x.org:80"},
		{backendName, "x.org:80"},
		{own, "x.org:80"},
		{"shop.example.org:8443", "shop.example.org:8443"},
		{"shop.example.org", "shop.example.org"},
		{backendName, "x.org:80"},
	} {
		listen := p.Upstreams[i].Listen
		for written, want := range map[string]string{
			"": test.loopback, own: test.loopback, "localhost": test.loopback, fmt.Sprintf("LocalHost:%d", listen): test.loopback,
			"127.0.0.1:8080": test.loopback, "x.org:80": test.other,
		} {
			got, err := sawHost(listen, written, p.Upstreams[i].Protocol.IsHTTP2())
			if err != nil || got != want {
				t.Errorf("upstream %d, Host %q: the callee saw %q, %v, want %q", i, written, got, err, want)
			}
		}
	}
	if got := webSocketHost(t, p.Upstreams[0].Listen); got != backendName {
		t.Errorf("a web socket's callee saw the Host %q", got)
	}

	// On a running Envoy.
	p.Upstreams[0].Host, p.Upstreams[3].Host, p.Upstreams[4].Host = "new.example.org", "", "changed.example.org"
	x.apply(p)
	for i, want := range map[int]string{0: "new.example.org", 3: backendName, 4: "changed.example.org"} {
		eventually(t, 5*time.Second, "the new Host", func() error {
			got, err := sawHost(p.Upstreams[i].Listen, "", p.Upstreams[i].Protocol.IsHTTP2())
			if err == nil && got != want {
				err = fmt.Errorf("upstream %d: got %q, want %q", i, got, want)
			}
			return err
		})
	}
}

// webSocketHost is the Host that the callee of a web socket saw.
func webSocketHost(t *testing.T, port uint16) string {
	t.Helper()
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: localhost:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", port)
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	must(t, err)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("got %s", response.Status)
	}
	return response.Header.Get("Saw-Host")
}

// TestHostOfRoutes: a gateway hands the client's Host on, unless its route says another.
func TestHostOfRoutes(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api", "/edge")
	in := ir.Inbound{Listen: freePort(t), App: startHostApp(t), Peers: peers(t, "/edge")}
	startProxy(t, ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{in}}).waitReady()
	p := ir.Proxy{ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Gateway: true,
		Inbound: []ir.Inbound{{Listen: freePort(t), TLS: ir.None}},
		Upstreams: []ir.Upstream{
			{Match: match(t, "/"), Address: address(t, in.Listen), Peers: peers(t, "/api")},
			{Match: match(t, "shop.example.org/"), Address: address(t, in.Listen), Peers: peers(t, "/api"), Host: "api.internal"},
		}}
	startProxy(t, p).waitReady()
	for written, want := range map[string]string{
		"x.org:80": "x.org:80", "shop.example.org": "api.internal", "shop.example.org:8443": "api.internal", "localhost": "localhost",
	} {
		if got, err := sawHost(p.Inbound[0].Listen, written, false); err != nil || got != want {
			t.Errorf("Host %q: the callee saw %q, %v, want %q", written, got, err, want)
		}
	}
}
