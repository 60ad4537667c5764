package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// edge is a gateway with a public port and one for mutual TLS, and two services behind it.
type edge struct {
	agent          *agent
	proxy          *proxy
	public, mutual uint16
}

func startEdge(t *testing.T) edge {
	t.Helper()
	agent := startAgent(t, "/edge", "/web", "/api")
	service := func(path string) ir.Address {
		p := ir.Proxy{ID: id(path), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{
			{Listen: freePort(t), App: startApp(t), Peers: peers(t, "/edge")},
		}}
		startProxy(t, p).waitReady()
		return address(t, p.Inbound[0].Listen)
	}
	web, api := service("/web"), service("/api")
	e := edge{agent: agent, public: freePort(t), mutual: freePort(t)}
	e.proxy = startProxy(t, ir.Proxy{
		ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Gateway: true,
		Inbound: []ir.Inbound{{Listen: e.public, TLS: ir.None}, {Listen: e.mutual, Peers: peers(t, "/client")}},
		Upstreams: []ir.Upstream{
			{Match: match(t, "/web"), Address: web, Peers: peers(t, "/web")},
			{Match: match(t, "/web/api"), Address: api, Peers: peers(t, "/api")},
			{Match: match(t, "api.example.org/v1"), Address: api, Peers: peers(t, "/api")},
			{Match: match(t, "*.example.org/"), Address: web, Peers: peers(t, "/web")},
			{Match: match(t, "/impostor"), Address: web, Peers: peers(t, "/api")},
		},
	})
	e.proxy.waitReady()
	return e
}

// ask sends one request as it is written, and returns status and who answered: the ID in By of what the app saw.
func (e edge) ask(t *testing.T, target, host string, headers ...string) (int, string) {
	t.Helper()
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.public))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, host, strings.Join(append(headers, ""), "\r\n"))
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	must(t, err)
	_, _ = io.Copy(io.Discard, response.Body)
	xfcc := response.Header.Get("Saw-Xfcc")
	by, _, _ := strings.Cut(strings.TrimPrefix(xfcc, "By=spiffe://example.org"), ";")
	if by != "" && !strings.HasSuffix(xfcc, ";URI=spiffe://example.org/edge") || strings.Contains(xfcc, "forged") {
		t.Errorf("%s: the app saw X-Forwarded-Client-Cert %q", target, xfcc)
	}
	return response.StatusCode, by
}

func TestGatewayRoutes(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	for _, test := range []struct {
		target, host string
		status       int
		by           string
	}{
		{"/web", "x.org", 200, "/web"},
		{"/web?x=/web/api", "x.org", 200, "/web"},
		{"/web/page", "x.org", 200, "/web"},
		{"/web/apix", "x.org", 200, "/web"},
		{"/web/api", "x.org", 200, "/api"},
		{"/web/api/v1", "x.org", 200, "/api"},
		{"/webx", "x.org", 404, ""},
		{"/Web", "x.org", 404, ""},
		{"/", "x.org", 404, ""},
		{"/v1/x", "api.example.org", 200, "/api"},
		{"/v1/x", "API.Example.org:8443", 200, "/api"},
		{"/v1", "www.example.org", 200, "/web"},
		{"/v1/x", "api.example.org.", 200, "/api"},
		{"/v1/x", "API.example.org.:8443", 200, "/api"},
		{"/v1", "www.example.org.", 200, "/web"},
		{"/v1", "www.example.org..", 404, ""},
		{"/v2", "api.example.org", 200, "/web"},
		{"/", "a.b.example.org", 200, "/web"},
		{"/", "example.org", 404, ""},
		{"/web/api", "api.example.org", 200, "/web"}, // the host counts before the path
		{"/impostor", "x.org", 503, ""},
		// A path means the same to the gateway and to the service.
		{"/web/../impostor", "x.org", 503, ""},
		{"/impostor/../web", "x.org", 200, "/web"},
		{"//web", "x.org", 200, "/web"},
		{"/web//api", "x.org", 200, "/api"},
		{"/web/%2e%2e/impostor", "x.org", 503, ""},
		{"/web%2fapi", "x.org", 400, ""},
		{"/web%5capi", "x.org", 400, ""},
		{"/web/%61pi", "x.org", 200, "/api"},
	} {
		if status, by := e.ask(t, test.target, test.host); status != test.status || by != test.by {
			t.Errorf("%s of %s: got %d by %q, want %d by %q", test.target, test.host, status, by, test.status, test.by)
		}
	}
	e.proxy.waitEvent("request", map[string]string{
		"path": "/web/page", "host": "x.org", "remote": "127.0.0.1:", "status": "200", "upstream_peer": "spiffe://example.org/web",
	})
	e.proxy.waitEvent("request", map[string]string{"path": "/impostor", "status": "503", "reason": "SAN_match"})
}

// TestPublicEdge: what strangers may not send.
func TestPublicEdge(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	long := "X-Long: " + strings.Repeat("x", 40<<10)
	for _, test := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"a forged identity", []string{"X-Forwarded-Client-Cert: URI=spiffe://example.org/forged"}, 200},
		{"an underscore", []string{"X_Forwarded_For: 10.0.0.1"}, 400},
		{"a long header", []string{long}, 431},
	} {
		if status, _ := e.ask(t, "/web", "x.org", test.headers...); status != test.status {
			t.Errorf("%s: got %d, want %d", test.name, status, test.status)
		}
	}
}

// TestGatewayForMutualTLS shares its routes with the public port, and asks for a certificate.
func TestGatewayForMutualTLS(t *testing.T) {
	t.Parallel()
	e := startEdge(t)
	at := fmt.Sprintf("https://127.0.0.1:%d/web", e.mutual)
	expect(t, tlsClient(t, e.agent, "/client"), at, 200, "ok")
	expect(t, tlsClient(t, e.agent, "/client"), at+"x", 404, "")
	if status, _, err := get(tlsClient(t, e.agent, "/web"), at); err == nil {
		t.Errorf("a caller that is no peer got %d", status)
	}
	e.proxy.waitEvent("request", map[string]string{
		"peer": "spiffe://example.org/client", "path": "/web", "status": "200", "upstream_peer": "spiffe://example.org/web",
	})
}

// TestPublicApp: a port without TLS in front of an app, where nobody has an identity.
func TestPublicApp(t *testing.T) {
	t.Parallel()
	p := apiProxy(t, startAgent(t, "/api"))
	p.Inbound[0].Peers, p.Inbound[0].TLS = nil, ir.None
	x := startProxy(t, p)
	x.waitReady()
	e := edge{proxy: x, public: p.Inbound[0].Listen}
	var many []string
	for i := range 110 {
		many = append(many, fmt.Sprintf("X-Header-%d: x", i))
	}
	for _, test := range []struct {
		target, header string
		status         int
	}{
		{"/page", strings.Join(many, "\r\n"), 431},
		{"/page?x=1", "X-Forwarded-Client-Cert: URI=spiffe://example.org/forged", 200},
		{"/page", "X_Forwarded_Client_Cert: URI=spiffe://example.org/forged", 400},
		{"/a%2fb", "X-Any: x", 400},
	} {
		if status, by := e.ask(t, test.target, "x.org", test.header); status != test.status || by != "" {
			t.Errorf("%s with %s: got %d, and the app saw a caller %q", test.target, test.header, status, by)
		}
	}
	x.waitEvent("request", map[string]string{"remote": "127.0.0.1:", "path": "/page", "status": "200"})
}
