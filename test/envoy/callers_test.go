package envoy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	// What a caller's app sees when the other side ends the connection during or right after the handshake.
	refusedByServer = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
	refusedByRBAC   = "RBAC: access denied"
)

func TestCallersBehindEnvoy(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	client := &http.Client{Timeout: 5 * time.Second}
	expect(t, client, m.valid.http, 200, "ok")
	expect(t, client, m.valid.http2+"?token=secret", 200, "ok")
	expect(t, client, m.invalid.http, 503, refusedByServer)
	expect(t, client, m.invalid.http2, 503, refusedByServer)

	m.apiProxy.waitEvent("handshake_refused", map[string]string{
		"peer": "spiffe://example.org/invalid", "self": "spiffe://example.org/api", "reason": "SAN_match",
	})
	m.apiProxy.waitEvent("request", map[string]string{
		"peer": "spiffe://example.org/valid", "self": "spiffe://example.org/api",
		"status": "200", "protocol": "HTTP/2", "path": "/", "details": "via_upstream",
	})
	m.valid.proxy.waitEvent("upstream_request", map[string]string{
		"peer": "spiffe://example.org/api", "self": "spiffe://example.org/valid", "status": "200",
	})
	m.invalid.proxy.waitEvent("upstream_request", map[string]string{"status": "503", "flags": "UC"})
	if logs := m.apiProxy.out.String() + m.valid.proxy.out.String(); strings.Contains(logs, "secret") {
		t.Errorf("a query is in the log:\n%s", logs)
	}
}

// TestWhatTheAppSees: the caller's verified ID whatever the caller claims, and the app's own headers.
func TestWhatTheAppSees(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	listen := startAPI(t, agent, "/valid")
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/secret?token=1", listen), nil)
	must(t, err)
	request.Header.Set("X-Forwarded-Client-Cert", "By=spiffe://example.org/api;URI=spiffe://example.org/admin")
	for _, http2 := range []bool{false, true} {
		client := tlsClient(t, agent, "/valid")
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
		response, err := client.Do(request)
		must(t, err)
		response.Body.Close()
		if got, want := response.ProtoMajor == 2, http2; got != want {
			t.Errorf("spoke %s, want HTTP/2 %t", response.Proto, want)
		}
		if got := response.Header.Get("Saw-Protocol"); got != "HTTP/1.1" {
			t.Errorf("the app saw %s; it speaks HTTP/1.1", got)
		}
		xfcc := response.Header.Get("Saw-Xfcc")
		if !strings.HasPrefix(xfcc, "By=spiffe://example.org/api;Hash=") || !strings.HasSuffix(xfcc, ";URI=spiffe://example.org/valid") ||
			strings.Contains(xfcc, "admin") {
			t.Errorf("the app saw X-Forwarded-Client-Cert %q", xfcc)
		}
		if got := response.Header.Get("Server"); got != "app" {
			t.Errorf("Server: %q, want the app's", got)
		}
	}
}

// TestRefusedCallers: who is refused without an Envoy of their own, and the reason in the log.
func TestRefusedCallers(t *testing.T) {
	t.Parallel()
	agent, stranger := startAgent(t, "/api"), startAgent(t)
	p := apiProxy(t, agent, "/valid")
	x := startProxy(t, p)
	x.waitReady()
	url := fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)

	refuse := func(client *http.Client, url, reason string) {
		t.Helper()
		if status, body, err := get(client, url); err == nil {
			t.Errorf("want a refusal because of %s, got %d %q", reason, status, body)
		}
		x.waitEvent("handshake_refused", map[string]string{"reason": reason})
	}
	nobody := tlsClient(t, agent, "/valid")
	nobody.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	refuse(nobody, url, "PEER_DID_NOT_RETURN_A_CERTIFICATE")
	refuse(&http.Client{Timeout: 5 * time.Second}, strings.Replace(url, "https", "http", 1), "HTTP_REQUEST")
	refuse(tlsClient(t, agent, "/other"), url, "SAN_match")
	refuse(tlsClient(t, stranger, "/valid"), url, "CERTIFICATE_VERIFY_FAILED")
	expired, err := agent.issue(id("/valid").String(), time.Now().Add(-time.Second))
	must(t, err)
	late := tlsClient(t, agent, "/valid")
	late.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{expired}
	refuse(late, url, "certificate_has_expired")
	old := tlsClient(t, agent, "/valid")
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	refuse(old, url, "UNSUPPORTED_PROTOCOL")

	expect(t, tlsClient(t, agent, "/valid"), url, 200, "ok")
}

// TestPeersMeanTheSameToEnvoy holds Envoy's handshake against [ir.Peer.Matches].
func TestPeersMeanTheSameToEnvoy(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	callers := []string{"/web", "/web/x", "/webx", "/ns/prod", "/ns/prodx", "/ns/prod/a", "/ns/prod/a/b", "/ns/Prod/a"}
	for _, name := range []string{"/web", "/ns/prod/*", "/*"} {
		peer := peers(t, name)[0]
		listen := startAPI(t, agent, name)
		for _, path := range callers {
			status, _, err := get(tlsClient(t, agent, path), fmt.Sprintf("https://127.0.0.1:%d/", listen))
			if got, want := err == nil && status == 200, peer.Matches(id(path)); got != want {
				t.Errorf("peers %s, caller %s: got in %t (%d, %v), want %t", name, path, got, status, err, want)
			}
		}
	}
}

// TestWebSocket upgrades through both Envoys and sends bytes both ways.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	connection, err := net.Dial("tcp", strings.Trim(strings.TrimPrefix(m.valid.http, "http://"), "/"))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = fmt.Fprint(connection, "GET /echo HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	must(t, err)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	must(t, err)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %s", response.Status)
	}
	_, err = fmt.Fprint(connection, "hello")
	must(t, err)
	echo := make([]byte, 5)
	if _, err := io.ReadFull(reader, echo); err != nil || string(echo) != "hello" {
		t.Errorf("got %q, %v", echo, err)
	}
}

// apiProxy is the API's intent with an app behind it.
func apiProxy(t *testing.T, a *agent, allowed ...string) ir.Proxy {
	t.Helper()
	return ir.Proxy{
		ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: a.socket,
		Inbound: []ir.Inbound{{Listen: freePort(t), App: startApp(t), Peers: peers(t, allowed...)}},
	}
}

// startAPI returns the mTLS port of a ready API.
func startAPI(t *testing.T, a *agent, allowed ...string) uint16 {
	t.Helper()
	p := apiProxy(t, a, allowed...)
	startProxy(t, p).waitReady()
	return p.Inbound[0].Listen
}

// tlsClient is a caller without Envoy. Whom it calls is not its concern here, so it checks nothing.
func tlsClient(t *testing.T, a *agent, path string) *http.Client {
	t.Helper()
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig(t, a, id(path).String())}}
}

// tlsConfig has an SVID of this ID from this agent's authority, whatever its domain.
func tlsConfig(t *testing.T, a *agent, id string) *tls.Config {
	t.Helper()
	certificate, err := a.issue(id, time.Now().Add(time.Hour))
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true}
}

// TestServerIsCheckedToo: a caller's Envoy finds its upstream by name, speaks HTTP/2 from end to end if that is
// what the apps speak, and stops talking to a server whose ID is no longer expected, without restart.
func TestServerIsCheckedToo(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api", "/web")
	api := apiProxy(t, agent, "/web")
	api.Inbound[0].Protocol = ir.GRPC
	startProxy(t, api).waitReady()
	byName, err := ir.ParseAddress(fmt.Sprintf("localhost:%d", api.Inbound[0].Listen))
	must(t, err)
	web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: byName, Peers: peers(t, "/api"), Protocol: ir.GRPC},
	}}
	x := startProxy(t, web)
	x.waitReady()

	url := fmt.Sprintf("http://127.0.0.1:%d/", web.Upstreams[0].Listen)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	response, err := client.Get(url)
	must(t, err)
	response.Body.Close()
	if got := response.Header.Get("Saw-Protocol"); response.Proto != "HTTP/2.0" || got != "HTTP/2.0" {
		t.Errorf("the caller spoke %s, the app saw %q, want HTTP/2.0 twice", response.Proto, got)
	}

	web.Upstreams[0].Peers = peers(t, "/other")
	x.apply(web)
	eventually(t, time.Second, "the refusal of the server", answers(client, url, 503))
	x.waitEvent("upstream_request", map[string]string{"status": "503", "flags": "UF", "reason": "SAN_match"})
	web.Upstreams[0].Peers = peers(t, "/api")
	x.apply(web)
	eventually(t, time.Second, "the return of the server", answers(client, url, 200))
}
