package envoy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// callingUntil is a caller of TCP whose certificate lasts for so long.
func callingUntil(t *testing.T, a *agent, path, host string, port uint16, left time.Duration) (*tls.Conn, error) {
	t.Helper()
	certificate, err := a.issue(id(path).String(), time.Now().Add(left))
	must(t, err)
	return tls.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(port)),
		&tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true})
}

// TestTCPEndsWithTheCallersCertificate: callers without Envoy whose certificates end at different times, all at once, on
// each kind of port for them. Those that last longer than half of the server's TTL get that, and make no detour. Each
// has one line in the log.
func TestTCPEndsWithTheCallersCertificate(t *testing.T) {
	t.Parallel()
	const ttl = 40 * time.Second
	own := ownAddress(t)
	agent, app := startAgent(t, "/db"), startTCPApp(t, "")
	echoes, onPodIP := listenAt(t, net.JoinHostPort(own, "0"))
	go serveEach(echoes, func(connection net.Conn) { _, _ = io.Copy(connection, connection) })
	web := peers(t, "/web")
	p := ir.Proxy{ID: id("/db"), SVIDTTL: ttl, AgentSocket: agent.socket, TCPDeadlines: true, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app.port, Peers: web, Protocol: ir.TCP},
		{Listen: freePort(t), App: app.port, Peers: web, Protocol: ir.TCP, TLS: ir.Permissive},
		{Listen: freePort(t), App: app.port, Peers: peers(t, "/other"), Protocol: ir.TCP, Audit: true},
		{Listen: freePort(t), App: onPodIP, AppHost: ir.PodIP, Peers: web, Protocol: ir.TCP},
	}}
	x := startProxy(t, p)
	x.waitReady()
	host := func(in ir.Inbound) string {
		if in.AppHost == ir.PodIP {
			return own
		}
		return "127.0.0.1"
	}
	type call struct {
		*stream
		left time.Duration
	}
	var calls []call
	for _, in := range p.Inbound {
		for _, left := range []time.Duration{5 * time.Second, 9 * time.Second, 18500 * time.Millisecond, 22 * time.Second, time.Hour} {
			s := openTCP(t, func() (net.Conn, error) { return callingUntil(t, agent, "/web", host(in), in.Listen, left) })
			s.kind = fmt.Sprintf("TCP at port %d with a certificate for %s", in.Listen, left)
			calls = append(calls, call{s, left})
		}
	}
	for _, c := range calls {
		most := min(c.left, ttl/2)
		if life := c.life(t, ttl); life > most+slack || life < most/4-slack || c.left > ttl/2+slack && life < ttl/2-slack {
			t.Errorf("%s lived for %s, want at most %s", c.kind, life, most)
		}
	}
	eventually(t, 3*time.Second, "a line for each connection", func() error {
		if lines := x.events("connection"); len(lines) != len(calls) {
			return fmt.Errorf("%d lines for %d connections", len(lines), len(calls))
		}
		return nil
	})
	for _, line := range x.events("connection") {
		if !containsAll(line, map[string]string{"peer": "spiffe://example.org/web", "self": "spiffe://example.org/db", "received": "", "sent": ""}) {
			t.Errorf("a line without who it was: %v", line)
		}
	}
	for _, in := range p.Inbound {
		if detours := x.statistic(fmt.Sprintf("cluster.early_%d.upstream_cx_total", in.Listen)); detours != 3 {
			t.Errorf("%d connections to port %d made a detour, want the 3 that end early", detours, in.Listen)
		}
	}
}

// TestTCPWithACertificateThatEndsNow is refused, before the app knows of it.
func TestTCPWithACertificateThatEndsNow(t *testing.T) {
	t.Parallel()
	agent, app := startAgent(t, "/db"), startTCPApp(t, "hello\n")
	p := ir.Proxy{ID: id("/db"), SVIDTTL: time.Hour, AgentSocket: agent.socket, TCPDeadlines: true, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app.port, Peers: peers(t, "/web"), Protocol: ir.TCP},
	}}
	x := startProxy(t, p)
	x.waitReady()
	accepted := app.accepted.Load() // of readiness
	if err := x.refusedTCP(func(path string) (*tls.Conn, error) {
		return callingUntil(t, agent, path, "127.0.0.1", p.Inbound[0].Listen, 900*time.Millisecond)
	}, "/web"); err != nil {
		t.Error(err)
	}
	x.waitEvent("connection", map[string]string{"peer": "spiffe://example.org/web", "received": "0", "sent": "0"})
	if now := app.accepted.Load(); now != accepted {
		t.Errorf("the app has seen %d connections of it", now-accepted)
	}
}

// TestTCPThatEndsEarlyIsAsAnyOther: half of a connection may end before the other, more passes than buffers hold, and
// a removed peer's connection ends although its certificate lasts.
func TestTCPThatEndsEarlyIsAsAnyOther(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/db")
	listener, port := listen(t)
	go serveEach(listener, func(connection net.Conn) {
		received, _ := io.Copy(io.Discard, connection) // until its half has ended
		_, _ = io.WriteString(connection, strings.Repeat("x", int(received)))
	})
	echoes := startTCPApp(t, "")
	p := ir.Proxy{ID: id("/db"), SVIDTTL: time.Hour, AgentSocket: agent.socket, TCPDeadlines: true, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: port, Peers: peers(t, "/web"), Protocol: ir.TCP},
		{Listen: freePort(t), App: echoes.port, Peers: peers(t, "/web", "/other"), Protocol: ir.TCP},
	}}
	x := startProxy(t, p)
	x.waitReady()
	const left, size = 20 * time.Minute, 4 << 20
	half, err := callingUntil(t, agent, "/web", "127.0.0.1", p.Inbound[0].Listen, left)
	must(t, err)
	defer half.Close()
	must(t, half.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(half, strings.Repeat("y", size))
	must(t, err)
	must(t, half.CloseWrite())
	if n, err := io.Copy(io.Discard, half); n != size || err != nil {
		t.Errorf("after the end of its half the caller got %d bytes and %v, want %d", n, err, size)
	}

	open, err := callingUntil(t, agent, "/other", "127.0.0.1", p.Inbound[1].Listen, left)
	must(t, err)
	defer open.Close()
	must(t, roundTrip(open, "", "ping"))
	if detours := x.statistic(fmt.Sprintf("cluster.early_%d.upstream_cx_active", p.Inbound[1].Listen)); detours != 1 {
		t.Fatalf("%d connections are on the detour, want this one", detours)
	}
	p.Inbound = append([]ir.Inbound{p.Inbound[0]}, p.Inbound[1])
	p.Inbound[1].Peers = peers(t, "/web")
	x.apply(p)
	must(t, open.SetReadDeadline(time.Now().Add((templates.DrainSeconds+5)*time.Second)))
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the removed peer's connection: %v, want it closed", err)
	}
	eventually(t, 3*time.Second, "the end of its detour", func() error {
		if n := x.statistic(fmt.Sprintf("cluster.app_%d.upstream_cx_active", echoes.port)); n != 0 {
			return fmt.Errorf("the app has %d connections", n)
		}
		return nil
	})
}
