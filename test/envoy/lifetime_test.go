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
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// slack is what a busy machine may add to a time.
const slack = 2 * time.Second

// lifeMesh is an API with a port for HTTP and one for TCP, and a caller's Envoy with an upstream for each.
type lifeMesh struct {
	agent       *agent
	api, web    ir.Proxy
	http, grpc  dialer // of the caller's app
	tcp         func() (net.Conn, error)
	apiX, callX *proxy
}

// startLifeMesh has an SVID TTL for each side. Its agent issues certificates of an hour: what is tested is not that
// handshakes fail.
func startLifeMesh(t *testing.T, apiTTL, webTTL time.Duration, unbounded bool) *lifeMesh {
	t.Helper()
	m := &lifeMesh{agent: startAgent(t, "/api", "/web")}
	app, app2, echoes := startStreamApp(t), startStreamApp(t), startTCPApp(t, "")
	m.api = ir.Proxy{ID: id("/api"), SVIDTTL: apiTTL, AgentSocket: m.agent.socket, UnboundedStreams: unbounded, TCPDeadlines: true, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: app, Peers: peers(t, "/web", "/other")},
		{Listen: freePort(t), App: app2, Peers: peers(t, "/web"), Protocol: ir.GRPC},
		{Listen: freePort(t), App: app2, Peers: peers(t, "/web"), Protocol: ir.GRPC, TLS: ir.Permissive},
		{Listen: freePort(t), App: echoes.port, Peers: peers(t, "/web"), Protocol: ir.TCP},
	}}
	m.web = ir.Proxy{ID: id("/web"), SVIDTTL: webTTL, AgentSocket: m.agent.socket, UnboundedStreams: unbounded, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, m.api.Inbound[0].Listen), Peers: peers(t, "/api")},
		{Listen: freePort(t), Address: address(t, m.api.Inbound[1].Listen), Peers: peers(t, "/api"), Protocol: ir.GRPC},
		{Listen: freePort(t), Address: address(t, m.api.Inbound[3].Listen), Peers: peers(t, "/api"), Protocol: ir.TCP},
	}}
	m.apiX, m.callX = startProxy(t, m.api), startProxy(t, m.web)
	m.apiX.waitReady()
	m.callX.waitReady()
	m.http, m.grpc = plainDialer(m.web.Upstreams[0].Listen), plainDialer(m.web.Upstreams[1].Listen)
	m.tcp = func() (net.Conn, error) {
		return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.web.Upstreams[2].Listen))
	}
	return m
}

// open has one stream of each kind through both Envoys.
func (m *lifeMesh) open(t *testing.T) []*stream {
	t.Helper()
	return []*stream{
		openWebSocket(t, m.http, nil), openResponse(t, m.http, nil), openHTTP2(t, m.grpc, nil), openTCP(t, m.tcp),
	}
}

// TestStreamsEndWithTheirCertificate: all kinds, whichever side has the shorter certificate, not later than half of its
// TTL, and not before most of that.
func TestStreamsEndWithTheirCertificate(t *testing.T) {
	t.Parallel()
	const short, long = 20 * time.Second, time.Hour
	for name, ttl := range map[string]struct{ api, web time.Duration }{
		"server": {short, long}, "caller": {long, short}, "both": {short, short},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startLifeMesh(t, ttl.api, ttl.web, false)
			for _, s := range m.open(t) {
				if life := s.life(t, 30*time.Second); life > short/2+slack || life < short/2*7/10-slack {
					t.Errorf("%s lived for %s, want nearly %s", s.kind, life, short/2)
				}
			}
		})
	}
}

// TestStreamsEndWithTheCallersCertificate: a caller without Envoy whose certificate ends long before the server's.
func TestStreamsEndWithTheCallersCertificate(t *testing.T) {
	t.Parallel()
	const left = 6 * time.Second
	m := startLifeMesh(t, time.Hour, time.Hour, false)
	certificate, err := m.agent.issue(id("/web").String(), time.Now().Add(left))
	must(t, err)
	dial := func(port int) dialer {
		return tlsDialer(m.api.Inbound[port].Listen, &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true})
	}
	for _, s := range []*stream{
		openWebSocket(t, dial(0), nil), openResponse(t, dial(0), nil), openHTTP2(t, dial(1), nil), openHTTP2(t, dial(2), nil),
		openTCP(t, func() (net.Conn, error) { return dial(3)(t.Context(), false) }),
	} {
		if life := s.life(t, 30*time.Second); life > left+slack || life < left-2*time.Second-slack {
			t.Errorf("%s lived for %s, want nearly %s", s.kind, life, left)
		}
	}
	// On a connection that is open already no request is served after that.
	certificate, err = m.agent.issue(id("/web").String(), time.Now().Add(5*time.Second))
	must(t, err)
	client := tlsClient(t, m.agent, "/web")
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{certificate}
	url := fmt.Sprintf("https://127.0.0.1:%d/short", m.api.Inbound[0].Listen)
	expect(t, client, url, 200, "")
	time.Sleep(5 * time.Second)
	if status, body, err := get(client, url); err != nil || status != http.StatusForbidden || body != "certificate expired" {
		t.Errorf("a request after the end of the certificate: got %d %q %v, want 403", status, body, err)
	}
	m.apiX.waitEvent("request", map[string]string{"status": "403", "details": "direct_response"})
}

// TestRestedConnectionEndsWithItsCertificate: a caller of HTTP/1.1 without Envoy takes as long as it may for one answer,
// rests, and asks for a stream. Another rests after its first answer.
func TestRestedConnectionEndsWithItsCertificate(t *testing.T) {
	t.Parallel()
	const ttl = 30 * time.Second
	m := startLifeMesh(t, ttl, time.Hour, false)
	dial := tlsDialer(m.api.Inbound[0].Listen, tlsConfig(t, m.agent, id("/other").String()))
	began := time.Now()
	rested, reader, response := raw(t, dial, nil, "GET /events?for=7.2s HTTP/1.1")
	_, resting, _ := raw(t, dial, nil, "GET /short HTTP/1.1")
	closed := make(chan error, 1)
	go func() {
		_, err := resting.ReadByte()
		closed <- err
	}()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.Close {
		t.Fatalf("the first answer did not arrive whole (%v), or ended the connection (%t)", err, response.Close)
	}
	time.Sleep(3 * time.Second)
	response = askAgain(t, rested, reader, nil, "GET /events HTTP/1.1")
	if response.StatusCode != http.StatusOK || !response.Close {
		t.Fatalf("the last request: got %s and the end of the connection: %t, want 200 and true", response.Status, response.Close)
	}
	run(t, "last response", lines(t, response)).life(t, 30*time.Second)
	if life := time.Since(began); life > ttl/2+slack {
		t.Errorf("the connection lived for %s of %s", life, ttl/2)
	}
	select {
	case err := <-closed:
		if !errors.Is(err, io.EOF) {
			t.Errorf("a connection that rests: got %v, want its end", err)
		}
	default:
		t.Error("a connection that rests is open when another has ended")
	}
}

// TestUnboundedStreams live on, while new requests get new connections.
func TestUnboundedStreams(t *testing.T) {
	t.Parallel()
	const ttl = 6 * time.Second
	m := startLifeMesh(t, ttl, ttl, true)
	streams := m.open(t)
	time.Sleep(2 * ttl)
	for _, s := range streams {
		if err := s.alive(); err != nil {
			t.Error(err)
		}
	}
}

// TestNoRequestIsLostWhenConnectionsEnd: callers with and without Envoy that are busy all the time, on connections that
// end each few hundred milliseconds, which they do.
func TestNoRequestIsLostWhenConnectionsEnd(t *testing.T) {
	t.Parallel()
	m := startLifeMesh(t, 8*time.Second, 8*time.Second, false)
	var connections atomic.Int64
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			connections.Add(1)
		}
	}}
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Second)
	defer stop()
	direct := tlsDialer(m.api.Inbound[0].Listen, tlsConfig(t, m.agent, id("/other").String()))
	http1 := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return direct(ctx, false) },
	}}
	viaEnvoy := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return m.http(ctx, false) },
	}}
	var total, failed atomic.Int64
	done := make(chan struct{})
	clients := map[string]*http.Client{"HTTP/1.1": http1, "HTTP/2": http2Client(direct), "Envoy": viaEnvoy}
	for name, client := range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				request, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.WithoutCancel(ctx), trace), http.MethodPost, "http://api/short", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				total.Add(1)
				response, err := client.Do(request)
				if err != nil || response.StatusCode != http.StatusOK {
					failed.Add(1)
					t.Errorf("%s: %v %v", name, response, err)
					continue
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	for range clients {
		<-done
	}
	t.Logf("%d requests on %d connections, %d failed", total.Load(), connections.Load(), failed.Load())
	if got := connections.Load(); got < 10 {
		t.Errorf("%d connections in 8 s, want one each 400 ms of two callers", got)
	}
}
