package envoy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// publicApp is an app behind a port whose callers are asked, or not asked, for a certificate.
func publicApp(t *testing.T, a *agent, clients ir.ClientCertificate, allowed ...string) ir.Proxy {
	t.Helper()
	p := apiProxy(t, a, allowed...)
	p.Inbound[0].Clients = clients
	return p
}

// anonymous is a caller without a certificate.
func anonymous() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// seen asks once and returns whom the app took the caller for.
func seen(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	request.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://example.org/forged")
	response, err := client.Do(request)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("%s: got %s", url, response.Status)
	}
	return response.Header.Get("Saw-Xfcc")
}

// TestOptionalCertificate: who shows none is nobody, a peer is named, and whoever shows a certificate that is not a
// peer's is refused.
func TestOptionalCertificate(t *testing.T) {
	t.Parallel()
	partner := startAgentOf(t, auxiliary, nil)
	agent, stranger := startAgentOf(t, trustDomain, []*agent{partner}, "/api"), startAgent(t)
	p := publicApp(t, agent, ir.Request, "/shop/*", "/other")
	p.Inbound = append(p.Inbound, ir.Inbound{
		Listen: freePort(t), App: p.Inbound[0].App, Peers: peers(t, "spiffe://auxiliary.org/*"), Clients: ir.Request,
	})
	x := startProxy(t, p)
	x.waitReady()
	url := fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)
	if got := seen(t, anonymous(), url); got != "" {
		t.Errorf("the app saw nobody as %q", got)
	}
	if got := seen(t, tlsClient(t, agent, "/shop/web"), url); !strings.HasSuffix(got, ";URI=spiffe://example.org/shop/web") || strings.Contains(got, "forged") {
		t.Errorf("the app saw the peer as %q", got)
	}
	refused := func(name string, config *tls.Config, url, reason string) {
		t.Helper()
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
		if status, _, err := get(client, url); err == nil {
			t.Errorf("%s: got %d, want a refusal", name, status)
		}
		x.waitEvent("handshake_refused", map[string]string{"reason": reason})
	}
	expect(t, tlsClient(t, agent, "/web"), url, 403, refusedByRBAC)
	x.waitEvent("request", map[string]string{"peer": "spiffe://example.org/web", "status": "403", "details": "rbac_access_denied"})
	refused("a stranger", tlsConfig(t, stranger, id("/shop/web").String()), url, "CERTIFICATE_VERIFY_FAILED")
	refused("a partner as one of ours", tlsConfig(t, partner, id("/shop/web").String()), url, "CERTIFICATE_VERIFY_FAILED")
	expired, err := agent.issue(id("/shop/web").String(), time.Now().Add(-time.Second))
	must(t, err)
	refused("expired", &tls.Config{Certificates: []tls.Certificate{expired}, InsecureSkipVerify: true}, url, "certificate_has_expired")

	// Of another domain, whose authority may write what it likes.
	second := fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[1].Listen)
	if got := seen(t, anonymous(), second); got != "" {
		t.Errorf("the app saw nobody as %q", got)
	}
	foreign := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(t, partner, "spiffe://auxiliary.org/web")}}
	if got := seen(t, foreign, second); !strings.HasSuffix(got, ";URI=spiffe://auxiliary.org/web") {
		t.Errorf("the app saw the partner as %q", got)
	}
	for _, crafted := range craftedIDs {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig(t, partner, crafted)}}
		if status, _, err := get(client, second); err == nil {
			t.Errorf("%s: got %d, want no answer", crafted, status)
		}
	}

	// One that is a peer no more is refused also on an open connection, and does not become nobody.
	open := tlsClient(t, agent, "/other")
	expect(t, open, url, 200, "ok")
	p.Inbound[0].Peers = peers(t, "/shop/*")
	x.apply(p)
	time.Sleep(500 * time.Millisecond)
	if status, _, err := get(open, url); err == nil && status != 403 {
		t.Errorf("a removed peer's open connection: got %d, want 403", status)
	}
	expect(t, anonymous(), url, 200, "ok")
}

// craftedIDs begin as a peer of auxiliary.org and go on with somebody else.
var craftedIDs = []string{
	"spiffe://auxiliary.org/web,By=spiffe://example.org/edge;URI=spiffe://example.org/admin",
	"spiffe://auxiliary.org/web;URI=spiffe://example.org/admin",
	"spiffe://auxiliary.org/web,URI=spiffe://example.org/admin",
}

// TestCraftedIDsOfPartners: they reach no app on a port that demands a certificate either.
func TestCraftedIDsOfPartners(t *testing.T) {
	t.Parallel()
	partner := startAgentOf(t, auxiliary, nil)
	agent := startAgentOf(t, trustDomain, []*agent{partner}, "/api")
	for _, allowed := range [][]string{{"spiffe://auxiliary.org/*"}, {"spiffe://auxiliary.org/*", "/x"}} {
		at := fmt.Sprintf("https://127.0.0.1:%d/", startAPI(t, agent, allowed...))
		for _, crafted := range craftedIDs {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig(t, partner, crafted)}}
			if status, _, err := get(client, at); err == nil {
				t.Errorf("%s: got %d, want no answer", crafted, status)
			}
		}
		good := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig(t, partner, "spiffe://auxiliary.org/a.b/c_d")}}
		expect(t, good, at, 200, "ok")
	}
}

// TestNoClientCertificate: nobody is asked, and a certificate that is shown all the same says nothing. Plain text is
// refused.
func TestNoClientCertificate(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := publicApp(t, agent, ir.NoRequest)
	p.Inbound[0].Peers = nil
	tcp := startTCPApp(t, "")
	p.Inbound = append(p.Inbound, ir.Inbound{Listen: freePort(t), App: tcp.port, Protocol: ir.TCP, Clients: ir.NoRequest})
	x := startProxy(t, p)
	x.waitReady()
	at := fmt.Sprintf("127.0.0.1:%d/", p.Inbound[0].Listen)
	for _, client := range []*http.Client{anonymous(), tlsClient(t, agent, "/web")} {
		if got := seen(t, client, "https://"+at); got != "" {
			t.Errorf("the app saw %q", got)
		}
	}
	if status, _, err := get(http.DefaultClient, "http://"+at); err == nil {
		t.Errorf("plain text: got %d", status)
	}
	x.waitEvent("handshake_refused", map[string]string{"reason": "HTTP_REQUEST"})
	connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Inbound[1].Listen), &tls.Config{InsecureSkipVerify: true})
	must(t, err)
	must(t, roundTrip(connection, "", "ping"))
}

// webCertificate is one as an authority of the public web would issue it, as a Secret has it.
func webCertificate(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", encoded)
}

// mountSecret replaces a Secret's files as the kubelet does it.
func (x *proxy) mountSecret(version string, certificate, key []byte) {
	x.t.Helper()
	must(x.t, os.MkdirAll(filepath.Join(x.certificate, version), 0o755))
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		must(x.t, os.WriteFile(filepath.Join(x.certificate, version, name), content, 0o600))
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(x.certificate, name)); !errors.Is(err, os.ErrExist) {
			must(x.t, err)
		}
	}
	must(x.t, os.Symlink(version, filepath.Join(x.certificate, "..data_tmp")))
	must(x.t, os.Rename(filepath.Join(x.certificate, "..data_tmp"), filepath.Join(x.certificate, "..data")))
}

// shown is the DNS name of the certificate at a port, or its ID.
func shown(t *testing.T, port uint16) string {
	t.Helper()
	connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
	must(t, err)
	defer connection.Close()
	leaf := connection.ConnectionState().PeerCertificates[0]
	if len(leaf.URIs) > 0 {
		return leaf.URIs[0].String()
	}
	return leaf.DNSNames[0]
}

// TestCertificateOfASecret: shown to callers, replaced without a restart, kept when what replaces it is broken; other
// ports show the SVID.
func TestCertificateOfASecret(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := publicApp(t, agent, ir.Request, "/web")
	p.Inbound[0].Certificate = true
	p.Inbound = append(p.Inbound, ir.Inbound{Listen: freePort(t), App: p.Inbound[0].App, Peers: peers(t, "/web")})
	dir := ""
	first, firstKey := webCertificate(t, "one.example.org")
	x := startProxy(t, p, func(at string) {
		dir = filepath.Dir(at)
		y := &proxy{t: t, certificate: filepath.Join(dir, "certificate")}
		y.mountSecret("..1", first, firstKey)
	})
	x.waitReady()
	port := p.Inbound[0].Listen
	if got := shown(t, port); got != "one.example.org" {
		t.Errorf("shows %s", got)
	}
	url := fmt.Sprintf("https://127.0.0.1:%d/", port)
	if got := seen(t, tlsClient(t, agent, "/web"), url); !strings.HasPrefix(got, "Hash=") || !strings.HasSuffix(got, ";URI=spiffe://example.org/web") {
		t.Errorf("the app saw the peer as %q", got)
	}
	held := anonymous()
	expect(t, held, url, 200, "ok")

	second, secondKey := webCertificate(t, "two.example.org")
	x.mountSecret("..2", second, secondKey)
	eventually(t, 2*time.Second, "the second certificate", func() error {
		if got := shown(t, port); got != "two.example.org" {
			return errors.New(got)
		}
		return nil
	})
	expect(t, held, url, 200, "ok")
	// A key that does not belong to the certificate.
	x.mountSecret("..3", first, secondKey)
	time.Sleep(500 * time.Millisecond)
	if got := shown(t, port); got != "two.example.org" {
		t.Errorf("after a broken change: shows %s", got)
	}
	x.mountSecret("..4", first, firstKey)
	eventually(t, 2*time.Second, "the repaired certificate", func() error {
		if got := shown(t, port); got != "one.example.org" {
			return errors.New(got)
		}
		return nil
	})
	if got := shown(t, p.Inbound[1].Listen); got != "spiffe://example.org/api" {
		t.Errorf("the other port shows %s", got)
	}
}

// TestLimits holds each limit of a port against a caller who exceeds it, and one who does not.
func TestLimits(t *testing.T) {
	t.Parallel()
	p := publicApp(t, startAgent(t, "/api"), ir.NoRequest)
	p.Inbound[0].Peers = nil
	limited := func(limits ir.Limits) uint16 {
		in := p.Inbound[0]
		in.Listen, in.TLS, in.Clients, in.Limits = freePort(t), ir.None, ir.Require, limits
		p.Inbound = append(p.Inbound, in)
		return in.Listen
	}
	body := limited(ir.Limits{MaxRequestBytes: 1000})
	connections := limited(ir.Limits{MaxConnections: 2})
	request := limited(ir.Limits{RequestTimeout: time.Second, MaxRequestBytes: 1 << 20})
	idle := limited(ir.Limits{IdleTimeout: time.Second})
	stream := limited(ir.Limits{StreamIdleTimeout: time.Second})
	x := startProxy(t, p)
	x.waitReady()
	at := func(port uint16, path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", port, path) }
	post := func(port uint16, body io.Reader) int {
		t.Helper()
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
		response, err := client.Post(at(port, "/"), "text/plain", body)
		must(t, err)
		response.Body.Close()
		return response.StatusCode
	}
	unknown := func(n int) io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", n))) } // without Content-Length
	for _, test := range []struct {
		body io.Reader
		want int
	}{
		{bytes.NewReader(make([]byte, 1000)), 200}, {bytes.NewReader(make([]byte, 1001)), 413},
		{unknown(1000), 200}, {unknown(1001), 413}, {unknown(100_000), 413},
	} {
		if got := post(body, test.body); got != test.want {
			t.Errorf("a body: got %d, want %d", got, test.want)
		}
	}
	for _, port := range []uint16{body, request} { // a web socket is no request body, and takes its time
		socket := dialWebSocket(t, port)
		for range 20 {
			must(t, roundTrip(socket, "", strings.Repeat("x", 100)))
			time.Sleep(100 * time.Millisecond)
		}
	}

	dial := func(port uint16) net.Conn {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		must(t, err)
		t.Cleanup(func() { connection.Close() })
		must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
		return connection
	}
	send := func(connection net.Conn, text string) string {
		_, _ = io.WriteString(connection, text)
		answer := make([]byte, 12)
		n, _ := io.ReadFull(connection, answer)
		return string(answer[:n])
	}
	const ask = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	eventually(t, 10*time.Second, "readiness' connections to have ended", func() error {
		if n := x.statistic(fmt.Sprintf("connection_limit.inbound_%d.active_connections", connections)); n != 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	one, two := dial(connections), dial(connections)
	if got := send(one, ask) + send(two, ask); got != strings.Repeat("HTTP/1.1 200", 2) {
		t.Errorf("two connections: got %q", got)
	}
	if got := send(dial(connections), ask); got != "" {
		t.Errorf("a third connection: got %q", got)
	}
	if got := send(dial(request), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx"); got != "HTTP/1.1 408" {
		t.Errorf("a slow request: got %q", got)
	}
	if got := send(dial(stream), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx"); got != "HTTP/1.1 408" && got != "HTTP/1.1 504" {
		t.Errorf("a resting request: got %q", got)
	}
	started := time.Now()
	if n, err := dial(idle).Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) || time.Since(started) > 3*time.Second {
		t.Errorf("an idle connection: %d bytes, %v after %s", n, err, time.Since(started))
	}
}

// dialWebSocket upgrades a connection without TLS.
func dialWebSocket(t *testing.T, port uint16) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	_, err = fmt.Fprint(connection, "GET /echo HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	must(t, err)
	var head bytes.Buffer
	for b := make([]byte, 1); !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")); head.Write(b) {
		if _, err := io.ReadFull(connection, b); err != nil {
			t.Fatalf("%v after %q", err, head.String())
		}
	}
	if !strings.HasPrefix(head.String(), "HTTP/1.1 101") {
		t.Fatalf("got %q", head.String())
	}
	return connection
}
