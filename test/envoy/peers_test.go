package envoy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestChangedPeers adds and removes a caller on a running Envoy. Both are in force within a second.
func TestChangedPeers(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	client := &http.Client{Timeout: 5 * time.Second}
	for range 2 {
		m.allow(t, "/valid", "/invalid")
		added := eventually(t, time.Second, "the new peer", answers(client, m.invalid.http, 200))
		m.allow(t, "/valid")
		// Its Envoy still has an open connection, so the refusal comes as an answer, unless a request came just before the
		// new rules and ended that connection with a last 200 (TestRemovedPeersOpenConnection avoids that moment).
		removed := eventually(t, time.Second, "the removal", answers(client, m.invalid.http, 403, 503))
		// Either way a new connection is refused in the handshake.
		eventually(t, time.Second, "the refused handshake", answers(client, m.invalid.http, 503))
		expect(t, client, m.valid.http, 200, "ok")
		t.Logf("in force after: added %s, removed %s", added, removed)
	}
}

// TestRemovedPeersOpenConnection has no Envoy at the caller, so that nothing but ours can end the connection:
// the request that follows the removal on the very same connection is refused.
func TestRemovedPeersOpenConnection(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid", "/other")
	x := startProxy(t, p)
	x.waitReady()
	for _, http2 := range []bool{false, true} {
		p.Inbound[0].Peers = peers(t, "/valid", "/other")
		x.apply(p)
		client := tlsClient(t, agent, "/other")
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
		url := fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)
		eventually(t, time.Second, "the added peer", answers(client, url, 200))
		// The change above is being drained too: begin on a connection that is newer than it.
		client.CloseIdleConnections()
		time.Sleep(100 * time.Millisecond)
		expect(t, client, url, 200, "ok")

		p.Inbound[0].Peers = peers(t, "/valid")
		x.apply(p)
		time.Sleep(500 * time.Millisecond)
		reused := false
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
		request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, nil)
		must(t, err)
		response, err := client.Do(request)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		must(t, err)
		response.Body.Close()
		x.waitEvent("request", map[string]string{"peer": "spiffe://example.org/other", "status": "403", "details": "rbac_access_denied"})
		if !reused || response.StatusCode != http.StatusForbidden || string(body) != refusedByRBAC {
			t.Errorf("HTTP/2 %t: connection reused %t, got %s %q, want 403 on the old connection", http2, reused, response.Status, body)
		}
	}
}

// TestPeersPerListener: two ports of one app, each with peers of its own, in the handshake and for open connections.
func TestPeersPerListener(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/one", "/both")
	p.Inbound = append(p.Inbound, ir.Inbound{Listen: freePort(t), App: p.Inbound[0].App, Peers: peers(t, "/other", "/both")})
	x := startProxy(t, p)
	x.waitReady()
	url := func(i int) string { return fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[i].Listen) }
	for path, want := range map[string][2]bool{"/one": {true, false}, "/other": {false, true}, "/both": {true, true}, "/none": {}} {
		for i := range p.Inbound {
			status, _, err := get(tlsClient(t, agent, path), url(i))
			if in := err == nil && status == 200; in != want[i] {
				t.Errorf("%s at port %d: let in %t (%d, %v)", path, i+1, in, status, err)
			}
		}
	}
	open := [2]*http.Client{tlsClient(t, agent, "/both"), tlsClient(t, agent, "/both")}
	for i, client := range open {
		expect(t, client, url(i), 200, "ok")
	}
	p.Inbound = slices.Clone(p.Inbound)
	p.Inbound[0].Peers = peers(t, "/one")
	x.apply(p)
	eventually(t, time.Second, "the refusal at the first port", func() error {
		if status, _, err := get(tlsClient(t, agent, "/both"), url(0)); err == nil && status == 200 {
			return fmt.Errorf("got %d", status)
		}
		return nil
	})
	// Envoy reads the listeners and the authorization one after the other.
	eventually(t, time.Second, "the refusal on the open connection at the first port", func() error {
		if status, _, err := get(open[0], url(0)); err == nil && status != 403 {
			return fmt.Errorf("got %d", status)
		}
		return nil
	})
	expect(t, open[1], url(1), 200, "ok")
}

// TestTrafficSurvivesChanges keeps a caller that may always call busy, with short requests, with some of
// 3 s, and with pauses around the idle timeout, while the peer list changes again and again. Nothing is lost.
func TestTrafficSurvivesChanges(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var total, slow atomic.Int64
	work := func(url string, pause time.Duration, slowEvery int) {
		client := &http.Client{Transport: &http.Transport{}}
		for i := 0; ctx.Err() == nil; i++ {
			target := url
			if slowEvery > 0 && i%slowEvery == 0 {
				target += "?for=3s"
				slow.Add(1)
			}
			expect(t, client, target, 200, "ok")
			total.Add(1)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	for _, url := range []string{m.valid.http, m.valid.http2} {
		for range 3 {
			workers.Go(func() { work(url, 10*time.Millisecond, 0) })
			workers.Go(func() { work(url, 300*time.Millisecond, 2) })
		}
		workers.Go(func() { work(url, 1500*time.Millisecond, 1) })
		workers.Go(func() { work(url, 4900*time.Millisecond, 2) })
		workers.Go(func() { work(url, 5*time.Second, 0) })
	}
	pauses := []time.Duration{2 * time.Second, 4 * time.Second, 500 * time.Millisecond, 3 * time.Second}
	for i, pause := range pauses {
		time.Sleep(pause)
		m.allow(t, [][]string{{"/valid", "/invalid"}, {"/valid"}}[i%2]...)
	}
	// Until the connections of the last change have been closed by force, if there were any left.
	time.Sleep((templates.DrainSeconds + 2) * time.Second)
	stop()
	workers.Wait()
	t.Logf("%d requests, %d of them of 3 s, %d changes", total.Load(), slow.Load(), len(pauses))
}

// TestTCPUpstream: bytes pass, readiness does not bother the other side, a foreign server is not talked to, and a
// changed peer list ends the open stream.
func TestTCPUpstream(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/web")
	certificate, err := agent.issue(id("/db").String(), time.Now().Add(time.Hour))
	must(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert})
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	var accepted atomic.Int64
	go serveEach(listener, func(connection net.Conn) {
		accepted.Add(1)
		_, _ = io.Copy(connection, connection)
	})
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Upstreams: []ir.Upstream{{
		Listen: freePort(t), Address: address(t, portOf(listener)), Peers: peers(t, "/db"), Protocol: ir.TCP,
	}}}
	x := startProxy(t, p)
	x.waitReady()
	if got := accepted.Load(); got != 0 {
		t.Errorf("readiness opened %d connections to the upstream", got)
	}
	dial := func() net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Upstreams[0].Listen))
		must(t, err)
		t.Cleanup(func() { connection.Close() })
		must(t, connection.SetDeadline(time.Now().Add((templates.DrainSeconds+5)*time.Second)))
		return connection
	}
	open := dial()
	_, err = fmt.Fprint(open, "hello")
	must(t, err)
	echo := make([]byte, 5)
	if _, err := io.ReadFull(open, echo); err != nil || string(echo) != "hello" {
		t.Fatalf("got %q, %v", echo, err)
	}

	p.Upstreams[0].Peers = peers(t, "/other")
	changed := time.Now()
	x.apply(p)
	time.Sleep(500 * time.Millisecond)
	if n, err := dial().Read(echo); err == nil {
		t.Errorf("read %d bytes from a server that is no peer", n)
	}
	x.waitEvent("upstream_connection", map[string]string{"reason": "SAN_match", "flags": "UF"})
	if _, err := open.Read(echo); !errors.Is(err, io.EOF) {
		t.Errorf("the open stream: %v, want it closed", err)
	}
	t.Logf("the open stream ended after %s", time.Since(changed))
}
