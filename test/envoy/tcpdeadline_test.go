package envoy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// untilThen are the settings of a caller whose certificate lasts for so long.
func untilThen(a *agent, path string, left time.Duration) (*tls.Config, error) {
	certificate, err := a.issue(id(path).String(), time.Now().Add(left))
	return &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true}, err
}

// callerUntil is the same, for a test that cannot go on without.
func callerUntil(t *testing.T, a *agent, path string, left time.Duration) *tls.Config {
	t.Helper()
	config, err := untilThen(a, path, left)
	must(t, err)
	return config
}

// callingUntil is a connection of such a caller.
func callingUntil(a *agent, path, address string, left time.Duration) (*tls.Conn, error) {
	config, err := untilThen(a, path, left)
	if err != nil {
		return nil, err
	}
	return tls.Dial("tcp", address, config)
}

// loopback is where callers on this machine reach a port.
func loopback(in ir.Inbound) string { return fmt.Sprintf("127.0.0.1:%d", in.Listen) }

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
		left                   time.Duration // of the certificate, before it is used
		began, connected, ends time.Time
		address                string
		dialed                 chan func() (net.Conn, error)
	}
	var calls []*call
	for _, in := range p.Inbound {
		for _, left := range []time.Duration{8 * time.Second, 11 * time.Second, 18500 * time.Millisecond, 30 * time.Second, time.Hour} {
			calls = append(calls, &call{
				left: left, address: net.JoinHostPort(host(in), fmt.Sprint(in.Listen)), dialed: make(chan func() (net.Conn, error), 1),
			})
		}
	}
	for _, c := range calls {
		go func() {
			c.began = time.Now()
			c.ends = c.began.Add(c.left)
			connection, err := callingUntil(agent, "/web", c.address, c.left)
			c.connected = time.Now()
			c.dialed <- func() (net.Conn, error) { return connection, err }
		}()
	}
	for _, c := range calls {
		c.stream = openTCP(t, <-c.dialed)
		c.kind = fmt.Sprintf("TCP to %s with a certificate for %s", c.address, c.left)
	}
	for _, c := range calls {
		ended := c.stream.began.Add(c.life(t, ttl))
		if ended.After(c.ends.Add(slack)) || ended.Sub(c.connected) > ttl/2+slack {
			t.Errorf("%s lived for %s", c.kind, ended.Sub(c.connected))
		}
		left := c.ends.Sub(c.connected) // at the handshake, or less
		least := left/4 - time.Second
		if left > ttl/2 {
			least = ttl / 2 * 7 / 8
		}
		if ended.Sub(c.began) < least {
			t.Errorf("%s lived for %s, want at least %s", c.kind, ended.Sub(c.began), least)
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
		checkWhyItEnded(t, line, ttl/2)
	}
	for _, in := range p.Inbound {
		if detours := x.statistic(fmt.Sprintf("cluster.early_%d.upstream_cx_total", in.Listen)); detours != 3 {
			t.Errorf("%d connections to port %d made a detour, want the 3 that end early", detours, in.Listen)
		}
	}
}

// checkWhyItEnded wants a line to say that the time of its connection was over, which may be the longest there is.
func checkWhyItEnded(t *testing.T, line map[string]any, longest time.Duration) {
	t.Helper()
	lasted, ok := line["ms"].(float64)
	if life, early := line["life"].(string); early {
		seconds, err := strconv.Atoi(life)
		if over := time.Duration(lasted)*time.Millisecond - time.Duration(seconds)*time.Second; err != nil || seconds == 0 || over < 0 || over > slack {
			t.Errorf("a line that does not say that the certificate ended (%v): %v", err, line)
		}
	} else if !ok || line["flags"] != "DT" || time.Duration(lasted)*time.Millisecond < longest-slack {
		t.Errorf("a line that does not say that the time was over: %v", line)
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
	// Again while the certificate had ended before the handshake.
	eventually(t, 10*time.Second, "a line for a connection that went nowhere", func() error {
		now := time.Now()
		time.Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now)) // certificates end with a whole second
		if err := x.refusedTCP(func(path string) (*tls.Conn, error) {
			return callingUntil(agent, path, loopback(p.Inbound[0]), time.Second)
		}, "/web"); err != nil {
			t.Error(err)
		}
		for _, line := range x.events("connection") {
			if containsAll(line, map[string]string{"peer": "spiffe://example.org/web", "received": "0", "sent": "0"}) {
				return nil
			}
		}
		return errors.New("no such line")
	})
	if seen := x.statistic(fmt.Sprintf("cluster.app_%d.upstream_cx_total", app.port)); seen != 0 {
		t.Errorf("the app has seen %d connections of it", seen)
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
	half, err := callingUntil(agent, "/web", loopback(p.Inbound[0]), left)
	must(t, err)
	defer half.Close()
	must(t, half.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(half, strings.Repeat("y", size))
	must(t, err)
	must(t, half.CloseWrite())
	if n, err := io.Copy(io.Discard, half); n != size || err != nil {
		t.Errorf("after the end of its half the caller got %d bytes and %v, want %d", n, err, size)
	}

	open, err := callingUntil(agent, "/other", loopback(p.Inbound[1]), left)
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
