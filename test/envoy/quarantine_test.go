package envoy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestQuarantine cuts an identity off on running Envoys by their files alone: it is refused at every port whose list
// would admit it, by name, by a prefix and where everyone is only audited; what it has open ends; nobody else notices.
// Then it is taken off the list.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	app, tcp := startStreamApp(t), startTCPApp(t, "hello\n")
	p := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app, Peers: peers(t, "/ns/prod/evil", "/ns/prod/web")},
		{Listen: freePort(t), App: app, Peers: peers(t, "/ns/prod/*")},
		{Listen: freePort(t), App: app, Peers: peers(t, "/admin"), Audit: true},
		{Listen: freePort(t), App: tcp.port, Peers: peers(t, "/ns/prod/evil", "/ns/prod/web"), Protocol: ir.TCP},
		{Listen: freePort(t), App: tcp.port, Peers: peers(t, "/ns/prod/*"), Protocol: ir.TCP},
		{Listen: freePort(t), App: tcp.port, Peers: peers(t, "/admin"), Protocol: ir.TCP, Audit: true},
	}}
	const requests = 3 // ports
	x := startProxy(t, p)
	x.waitReady()
	config := func(path string) *tls.Config { return tlsConfig(t, agent, id(path).String()) }
	url := func(i int) string { return fmt.Sprintf("https://127.0.0.1:%d/short", p.Inbound[i].Listen) }
	dialTCP := func(i int, path string) (*tls.Conn, error) {
		return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[i].Listen), config(path))
	}
	admits := func(path string) func() error {
		return func() error {
			for i := range p.Inbound[:requests] {
				if status, _, err := get(tlsClient(t, agent, path), url(i)); err != nil || status != http.StatusOK {
					return fmt.Errorf("port %d: %d, %w", i, status, err)
				}
			}
			for i := range p.Inbound[requests:] {
				conn, err := dialTCP(requests+i, path)
				if err == nil {
					err = roundTrip(conn, "hello\n", "ping")
					_ = conn.Close()
				}
				if err != nil {
					return fmt.Errorf("port %d: %w", requests+i, err)
				}
			}
			return nil
		}
	}
	refuses := func(path string) func() error {
		return func() error {
			for i := range p.Inbound[:requests] {
				if status, _, err := get(tlsClient(t, agent, path), url(i)); err == nil && status != http.StatusForbidden {
					return fmt.Errorf("port %d: %d", i, status)
				}
			}
			for i := range p.Inbound[requests:] {
				dial := func(path string) (*tls.Conn, error) { return dialTCP(requests+i, path) }
				if err := x.refusedTCP(dial, path); err != nil {
					return fmt.Errorf("port %d: %w", requests+i, err)
				}
			}
			return nil
		}
	}
	const evil, web = "/ns/prod/evil", "/ns/prod/web"
	must(t, admits(evil)())
	must(t, admits(web)())
	var streams []*stream
	var conns []*tls.Conn
	for i := range p.Inbound {
		if i < requests {
			dial := tlsDialer(p.Inbound[i].Listen, config(evil))
			streams = append(streams, openWebSocket(t, dial, nil), openResponse(t, dial, nil))
			continue
		}
		conn, err := dialTCP(i, evil)
		must(t, err)
		defer conn.Close()
		must(t, roundTrip(conn, "hello\n", "first"))
		conns = append(conns, conn)
	}

	cutOff := p
	cutOff.Refuse(peers(t, evil, "/elsewhere"))
	changed := time.Now()
	x.apply(cutOff)
	took := eventually(t, 5*time.Second, "the refusal", refuses(evil))
	t.Logf("refused everywhere after %s", took)
	must(t, admits(web)())
	if status, _, err := get(tlsClient(t, agent, "/ns/prod/evil-twin"), url(1)); err != nil || status != http.StatusOK {
		t.Errorf("a name that begins alike, over HTTP: %d, %v", status, err)
	}
	twin, err := dialTCP(4, "/ns/prod/evil-twin")
	if err == nil {
		err = roundTrip(twin, "hello\n", "ping")
		_ = twin.Close()
	}
	if err != nil {
		t.Errorf("a name that begins alike, over TCP: %v", err)
	}
	for _, s := range streams {
		s.life(t, changed.Sub(s.began)+(templates.DrainSeconds+3)*time.Second)
	}
	for _, conn := range conns {
		must(t, conn.SetReadDeadline(time.Now().Add((templates.DrainSeconds+5)*time.Second)))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("an open connection: %v, want it closed", err)
		}
	}
	must(t, refuses(evil)())

	x.apply(p)
	eventually(t, 5*time.Second, "the end of the quarantine", admits(evil))
}

// TestQuarantineOfServer cuts off whom an Envoy calls: by name and by a prefix, over HTTP and TCP.
func TestQuarantineOfServer(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/ns/prod/evil", "/web")
	tcp := startTCPApp(t, "hello\n")
	server := ir.Proxy{ID: id("/ns/prod/evil"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: startApp(t), Peers: peers(t, "/web")},
		{Listen: freePort(t), App: tcp.port, Peers: peers(t, "/web"), Protocol: ir.TCP},
	}}
	to := func(i int) ir.Address { return address(t, server.Inbound[i].Listen) }
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: to(0), Peers: peers(t, "/ns/prod/evil")},
		{Listen: freePort(t), Address: to(0), Peers: peers(t, "/ns/prod/*"), Protocol: ir.HTTP2},
		{Listen: freePort(t), Address: to(1), Peers: peers(t, "/ns/prod/*"), Protocol: ir.TCP},
	}}
	startProxy(t, server).waitReady()
	x := startProxy(t, p)
	x.waitReady()
	client := &http.Client{Timeout: 5 * time.Second}
	url := func(i int) string { return fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[i].Listen) }
	for i := range 2 {
		expect(t, client, url(i), http.StatusOK, "ok")
	}
	must(t, plainRoundTrip(p.Upstreams[2].Listen))
	cutOff := p
	cutOff.Refuse(peers(t, "/ns/prod/evil"))
	x.apply(cutOff)
	for i := range 2 {
		eventually(t, 5*time.Second, "the refusal of the server", answers(client, url(i), http.StatusServiceUnavailable))
	}
	if err := plainRoundTrip(p.Upstreams[2].Listen); err == nil {
		t.Error("the server is believed over TCP")
	}
	other := p
	other.Refuse(peers(t, "/ns/prod/other"))
	x.apply(other)
	for i := range 2 {
		eventually(t, 5*time.Second, "the server again", answers(client, url(i), http.StatusOK))
	}
	must(t, plainRoundTrip(p.Upstreams[2].Listen))
}

// plainRoundTrip is of an app that calls by an upstream.
func plainRoundTrip(port uint16) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	return roundTrip(conn, "hello\n", "ping")
}
