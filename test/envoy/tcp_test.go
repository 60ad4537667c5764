package envoy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestTCPInbound: bytes pass, the app sees only callers that TLS let in, each has one line in the log, and a changed
// peer list ends the open streams.
func TestTCPInbound(t *testing.T) {
	t.Parallel()
	agent, app := startAgent(t, "/db"), startTCPApp(t, "hello\n")
	p := ir.Proxy{ID: id("/db"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app.port, Peers: peers(t, "/web", "/other"), Protocol: ir.TCP},
	}}
	x := startProxy(t, p)
	x.waitReady()
	dial := func(path string) (*tls.Conn, error) {
		return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen), tlsConfig(t, agent, id(path).String()))
	}
	if err := x.refusedTCP(dial, "/stranger"); err != nil {
		t.Error(err)
	}
	x.waitEvent("handshake_refused", map[string]string{
		"peer": "spiffe://example.org/stranger", "self": "spiffe://example.org/db", "reason": "SAN_match",
	})
	silent, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen))
	must(t, err)
	silent.Close()
	if got := x.statistic(fmt.Sprintf("cluster.app_%d.upstream_cx_total", app.port)); got != 0 {
		t.Errorf("the app has seen %d connections of callers that were not let in, or of readiness", got)
	}

	open, err := dial("/other")
	must(t, err)
	defer open.Close()
	must(t, roundTrip(open, "hello\n", "first"))
	short, err := dial("/web")
	must(t, err)
	must(t, roundTrip(short, "hello\n", "ping"))
	short.Close()
	x.waitEvent("connection", map[string]string{
		"peer": "spiffe://example.org/web", "self": "spiffe://example.org/db", "remote": "127.0.0.1:", "received": "4", "sent": "10",
	})

	p.Inbound[0].Peers = peers(t, "/web")
	x.apply(p)
	changed := time.Now()
	eventually(t, time.Second, "the refusal of the removed peer", func() error { return x.refusedTCP(dial, "/other") })
	must(t, open.SetReadDeadline(time.Now().Add((templates.DrainSeconds+5)*time.Second)))
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the open stream: %v, want it closed", err)
	}
	t.Logf("the open stream ended after %s", time.Since(changed))
	again, err := dial("/web")
	must(t, err)
	must(t, roundTrip(again, "hello\n", "ping"))
	again.Close()
	nobody := p
	nobody.Inbound = []ir.Inbound{p.Inbound[0]}
	nobody.Inbound[0].App = freePort(t)
	x.apply(nobody)
	// Again until there is a line: a connection that falls between the new listener and the new cluster ends without one.
	eventually(t, 3*time.Second, "the end of connections to an app that is not there, and its reason", func() error {
		if err := x.refusedTCP(dial, "/web"); err != nil {
			return err
		}
		if !slices.ContainsFunc(x.events("connection"), func(line map[string]any) bool {
			return containsAll(line, map[string]string{"peer": "spiffe://example.org/web", "flags": "UF", "received": "0"})
		}) {
			return errors.New("no such line")
		}
		return nil
	})
	for _, line := range x.events("connection") {
		if line["peer"] == "spiffe://example.org/stranger" || line["peer"] == nil {
			t.Errorf("a connection that was not let in has a line of its own: %v", line)
		}
	}
}

// refusedTCP returns an error if the caller gets anything but the end of its connection. In TLS 1.3 that comes after
// the caller's side of the handshake.
func (x *proxy) refusedTCP(dial func(path string) (*tls.Conn, error), path string) error {
	x.t.Helper()
	connection, err := dial(path)
	if err != nil {
		return nil //nolint:nilerr // this is the refusal
	}
	defer connection.Close()
	must(x.t, connection.SetReadDeadline(time.Now().Add(3*time.Second)))
	n, err := connection.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%s was let in: read %d bytes: %w", path, n, err)
	}
	return nil
}

// TestPlainTCP has no TLS at all, and readiness does not bother the app either.
func TestPlainTCP(t *testing.T) {
	t.Parallel()
	agent, app := startAgent(t, "/db"), startTCPApp(t, "hello\n")
	p := ir.Proxy{ID: id("/db"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app.port, Protocol: ir.TCP, TLS: ir.None},
	}}
	x := startProxy(t, p)
	x.waitReady()
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[0].Listen))
	must(t, err)
	must(t, roundTrip(connection, "hello\n", "ping"))
	connection.Close()
	x.waitEvent("connection", map[string]string{"remote": "127.0.0.1:", "received": "4", "sent": "10"})
	lines, connections := len(x.events("")), x.statistic(fmt.Sprintf("cluster.app_%d.upstream_cx_total", app.port))
	if lines != 1 || connections != 1 {
		t.Errorf("%d lines and %d connections to the app, want one of each", lines, connections)
	}
}
