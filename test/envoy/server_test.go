package envoy

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	caFolder  = "ca"         // in the place of templates.CADir
	systemCAs = "system.crt" // in the place of templates.SystemCAFile
)

// webCA issues certificates as an authority of the public web does.
type webCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newWebCA(t *testing.T, name string) webCA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return webCA{certificate, key}
}

func (c webCA) pem() []byte { return pemBlock("CERTIFICATE", c.certificate.Raw) }

// issue makes a server's certificate for names and addresses. Change may spoil it.
func (c webCA) issue(t *testing.T, names []string, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, key.Public(), c.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// webServer is a service outside the mesh.
type webServer struct {
	port    uint16
	request atomic.Pointer[http.Request] // the last one
	config  atomic.Pointer[tls.Config]
}

// startWebServer serves HTTP/1.1 and HTTP/2 over TLS; config may change while it runs.
func startWebServer(t *testing.T, config *tls.Config) *webServer {
	t.Helper()
	config.NextProtos = []string{"h2", "http/1.1"}
	s := &webServer{}
	s.config.Store(config)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.request.Store(r)
			_, _ = io.WriteString(w, "ok")
		}),
		TLSConfig: &tls.Config{
			NextProtos:         config.NextProtos,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.config.Load(), nil },
			Certificates:       config.Certificates,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	listener, port := listen(t)
	s.port = port
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close() })
	return s
}

// present makes a server show another certificate from now on.
func (s *webServer) present(certificate tls.Certificate) {
	config := s.config.Load().Clone()
	config.Certificates = []tls.Certificate{certificate}
	s.config.Store(config)
}

func serverName(t *testing.T, name string) ir.ServerName {
	t.Helper()
	out, err := ir.ParseServerName(name)
	must(t, err)
	return out
}

func caOf(t *testing.T, secret string) ir.CA {
	t.Helper()
	out, err := ir.ParseCASecret(secret)
	must(t, err)
	return out
}

// startCaller starts the Envoy of an app that calls services outside the mesh, and has CAs as the kubelet mounts them.
func startCaller(t *testing.T, p ir.Proxy, system []byte, secrets map[string][]byte) *proxy {
	t.Helper()
	p.ID, p.SVIDTTL = id("/web"), cmp.Or(p.SVIDTTL, time.Minute)
	if p.AgentSocket == "" {
		p.AgentSocket = startAgent(t, "/web").socket
	}
	return startProxy(t, p, func(data string) {
		dir := filepath.Dir(data)
		if system != nil {
			must(t, os.WriteFile(filepath.Join(dir, systemCAs), system, 0o600))
		}
		mountFiles(t, filepath.Join(dir, caFolder), "..1", secrets)
	})
}

// mountFiles replaces the files of a volume as the kubelet does it.
func mountFiles(t *testing.T, volume, version string, files map[string][]byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(volume, version), 0o755))
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(volume, version, name), content, 0o600))
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(volume, name)); !errors.Is(err, os.ErrExist) {
			must(t, err)
		}
	}
	must(t, os.Symlink(version, filepath.Join(volume, "..data_tmp")))
	must(t, os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")))
}

// TestServerOutside: who has a certificate of the CA for the name is called, and nobody else, and the log says why.
func TestServerOutside(t *testing.T) {
	t.Parallel()
	const name = "api.example.org"
	agent, good, other := startAgent(t, "/web"), newWebCA(t, "good"), newWebCA(t, "other")
	plain := startApp(t)
	svid, err := agent.issue(id("/api").String(), time.Now().Add(time.Hour))
	must(t, err)
	self := selfSigned(t, name)
	tests := []struct {
		what        string
		certificate tls.Certificate
		name        string // that Envoy expects
		version     uint16 // the only one of the server, if not zero
		refused     string // why, in the log; empty if it is called
	}{
		{"its name", good.issue(t, []string{name}, nil), name, 0, ""},
		{"its name among others", good.issue(t, []string{"www.example.org", "*.other.org", name, "10.0.0.1"}, nil), name, 0, ""},
		{"a wildcard", good.issue(t, []string{"*.example.org"}, nil), name, 0, ""},
		{"its address", good.issue(t, []string{"127.0.0.1"}, nil), "127.0.0.1", 0, ""},
		{"TLS 1.2", good.issue(t, []string{name}, nil), name, tls.VersionTLS12, ""},
		{"TLS 1.3", good.issue(t, []string{name}, nil), name, tls.VersionTLS13, ""},
		{"TLS 1.1", good.issue(t, []string{name}, nil), name, tls.VersionTLS11, "TLSV1_ALERT_PROTOCOL_VERSION"},
		{"another name", good.issue(t, []string{"www.example.org"}, nil), name, 0, "SAN_match"},
		{"a longer name", good.issue(t, []string{"a." + name, name + ".evil.org"}, nil), name, 0, "SAN_match"},
		{"a wildcard above", good.issue(t, []string{"*.org", "*"}, nil), name, 0, "SAN_match"},
		{"a part of a wildcard", good.issue(t, []string{"*.example.org"}, nil), "a.b.example.org", 0, "SAN_match"},
		{"its name as subject alone", good.issue(t, nil, func(c *x509.Certificate) { c.Subject.CommonName = name }), name, 0, "SAN"},
		{"its name for an address", good.issue(t, []string{name}, nil), "127.0.0.1", 0, "SAN_match"},
		{"another address", good.issue(t, []string{"127.0.0.2"}, nil), "127.0.0.1", 0, "SAN_match"},
		{"its address as a name", good.issue(t, nil, func(c *x509.Certificate) { c.DNSNames = []string{"127.0.0.1"} }), "127.0.0.1", 0, "SAN_match"},
		{"another CA", other.issue(t, []string{name}, nil), name, 0, "CERTIFICATE_VERIFY_FAILED"},
		{"its own", self, name, 0, "CERTIFICATE_VERIFY_FAILED"},
		{"an SVID", svid, name, 0, "CERTIFICATE_VERIFY_FAILED"},
		{"expired", good.issue(t, []string{name}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), name, 0, "certificate_has_expired"},
		{"not yet", good.issue(t, []string{name}, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), name, 0, "not_yet_valid"},
		{"for clients", good.issue(t, []string{name}, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), name, 0, "unsupported_certificate_purpose"},
	}
	p := ir.Proxy{AgentSocket: agent.socket}
	add := func(port uint16, ca ir.CA, name string) {
		p.Upstreams = append(p.Upstreams, ir.Upstream{
			Listen: freePort(t), Address: address(t, port), Server: ir.Server{External: true, CA: ca, Name: serverName(t, name)},
		})
	}
	var servers []*webServer
	for _, test := range tests {
		server := startWebServer(t, &tls.Config{
			Certificates: []tls.Certificate{test.certificate}, ClientAuth: tls.RequestClientCert,
			MinVersion: max(test.version, tls.VersionTLS10), MaxVersion: test.version,
		})
		servers = append(servers, server)
		add(server.port, ir.SystemCA(), test.name) // those of this test, not of this machine
		add(server.port, caOf(t, "good"), test.name)
	}
	add(plain, ir.SystemCA(), name)
	x := startCaller(t, p, good.pem(), map[string][]byte{"good": good.pem()})
	x.waitReady()
	for i, test := range tests {
		for _, up := range p.Upstreams[2*i : 2*i+2] {
			status, body, err := get(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", up.Listen))
			must(t, err)
			if want := test.refused == ""; want != (status == 200 && body == "ok") || !want && status != 503 {
				t.Errorf("%s, CA %s: got %d %q", test.what, up.Server.CA, status, body)
			}
			if test.refused != "" {
				x.waitEvent("upstream_request", map[string]string{"listener": fmt.Sprintf("upstream_%d", up.Listen), "reason": test.refused})
				continue
			}
			seen := servers[i].request.Load()
			sni := test.name
			if up.Server.Name.IsIP() {
				sni = ""
			}
			if seen.TLS.ServerName != sni || seen.Host != test.name || len(seen.TLS.PeerCertificates) > 0 {
				t.Errorf("%s: the server saw SNI %q, Host %q and %d certificates",
					test.what, seen.TLS.ServerName, seen.Host, len(seen.TLS.PeerCertificates))
			}
		}
	}
	for i, test := range tests {
		if test.refused != "" && servers[i].request.Load() != nil {
			t.Errorf("%s: a request arrived", test.what)
		}
	}
	listen := p.Upstreams[len(p.Upstreams)-1].Listen
	if status, _, err := get(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", listen)); err != nil || status != 503 {
		t.Errorf("plain text: got %d and %v", status, err)
	}
	x.waitEvent("upstream_request", map[string]string{"listener": fmt.Sprintf("upstream_%d", listen), "reason": "WRONG_VERSION_NUMBER"})
}

// selfSigned is a certificate that its own key vouches for.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	certificate, key := webCertificate(t, name)
	out, err := tls.X509KeyPair(certificate, key)
	must(t, err)
	return out
}

// TestServerOutsideGetsSVID: only if the app's pod says so, and only if the server asks.
func TestServerOutsideGetsSVID(t *testing.T) {
	t.Parallel()
	agent, ca := startAgent(t, "/web"), newWebCA(t, "web")
	mesh := x509.NewCertPool()
	mesh.AddCert(agent.ca)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := startWebServer(t, &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, []string{"api.test"}, nil)}, MaxVersion: version,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: mesh,
		})
		with := ir.Upstream{Listen: freePort(t), Address: address(t, server.port),
			Server: ir.Server{External: true, CA: ir.SystemCA(), Name: serverName(t, "api.test"), PresentSVID: true}}
		without := with
		without.Listen, without.Server.PresentSVID = freePort(t), false
		p := ir.Proxy{AgentSocket: agent.socket, Upstreams: []ir.Upstream{with, without}}
		x := startCaller(t, p, ca.pem(), nil)
		x.waitReady()
		expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", with.Listen), 200, "ok")
		leaf := server.request.Load().TLS.PeerCertificates[0]
		if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://example.org/web" {
			t.Errorf("the server saw %v", leaf.URIs)
		}
		if status, _, err := get(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", without.Listen)); err != nil || status != 503 {
			t.Errorf("without a certificate: got %d and %v", status, err)
		}
	}
}

// TestRenewedCA: a Secret's CA is replaced without a restart, kept when what replaces it is broken, and one that is
// broken from the start concerns its own upstream alone.
func TestRenewedCA(t *testing.T) {
	t.Parallel()
	first, second := newWebCA(t, "first"), newWebCA(t, "second")
	ofFirst, ofSecond := first.issue(t, []string{"api.test"}, nil), second.issue(t, []string{"api.test"}, nil)
	server := startWebServer(t, &tls.Config{Certificates: []tls.Certificate{ofFirst}})
	up := ir.Upstream{Listen: freePort(t), Address: address(t, server.port),
		Server: ir.Server{External: true, CA: caOf(t, "a.1"), Name: serverName(t, "api.test")}}
	broken := up
	broken.Listen, broken.Server.CA = freePort(t), caOf(t, "b")
	// An open connection takes requests for a twentieth of that at most.
	p := ir.Proxy{SVIDTTL: 20 * time.Second, Upstreams: []ir.Upstream{up, broken}}
	x := startCaller(t, p, nil, map[string][]byte{"a.1": first.pem(), "b": []byte("nothing")})
	x.waitReady()
	volume := filepath.Join(x.dir, caFolder)
	url := func(up ir.Upstream) string { return fmt.Sprintf("http://127.0.0.1:%d/", up.Listen) }
	caller := &http.Client{Timeout: 5 * time.Second}
	expect(t, caller, url(up), 200, "ok")
	if status, _, err := get(caller, url(broken)); err != nil || status != 503 {
		t.Errorf("with a broken CA: got %d and %v", status, err)
	}

	mountFiles(t, volume, "..2", map[string][]byte{"a.1": first.pem(), "b": first.pem()})
	eventually(t, 5*time.Second, "the repaired CA", answers(caller, url(broken), 200))

	server.present(ofSecond)
	mountFiles(t, volume, "..3", map[string][]byte{"a.1": second.pem(), "b": first.pem()})
	eventually(t, 15*time.Second, "a refusal by the CA that stayed", answers(caller, url(broken), 503))
	eventually(t, 5*time.Second, "the renewed CA", answers(caller, url(up), 200))
	x.waitEvent("upstream_request", map[string]string{
		"listener": fmt.Sprintf("upstream_%d", broken.Listen), "reason": "CERTIFICATE_VERIFY_FAILED",
	})

	mountFiles(t, volume, "..4", map[string][]byte{"a.1": []byte("nothing"), "b": append(first.pem(), second.pem()...)})
	eventually(t, 5*time.Second, "one of two CAs in a file", answers(caller, url(broken), 200))
	expect(t, caller, url(up), 200, "ok")
}

// TestOutsideByHTTP2AndTCP: the app speaks what it speaks to any upstream.
func TestOutsideByHTTP2AndTCP(t *testing.T) {
	t.Parallel()
	ca := newWebCA(t, "web")
	certificate := ca.issue(t, []string{"api.test"}, nil)
	server := startWebServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}})
	outside := func(port uint16, protocol ir.Protocol, name string) ir.Upstream {
		return ir.Upstream{Listen: freePort(t), Address: address(t, port), Protocol: protocol,
			Server: ir.Server{External: true, CA: caOf(t, "db"), Name: serverName(t, name)}}
	}
	port := startTLSEcho(t, certificate)
	p := ir.Proxy{Upstreams: []ir.Upstream{
		outside(server.port, ir.GRPC, "api.test"), outside(port, ir.TCP, "api.test"), outside(port, ir.TCP, "other.test"),
	}}
	x := startCaller(t, p, nil, map[string][]byte{"db": ca.pem()})
	x.waitReady()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	expect(t, &http.Client{Timeout: 5 * time.Second, Transport: transport}, fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[0].Listen), 200, "ok")
	if got := server.request.Load().Proto; got != "HTTP/2.0" {
		t.Errorf("the server saw %s", got)
	}
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Upstreams[1].Listen))
	must(t, err)
	must(t, roundTrip(connection, "hello ", "ping"))
	refused, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Upstreams[2].Listen))
	must(t, err)
	if err := roundTrip(refused, "hello ", "ping"); err == nil {
		t.Error("a server with another name was called")
	}
	x.waitEvent("upstream_connection", map[string]string{"listener": fmt.Sprintf("upstream_%d", p.Upstreams[2].Listen), "reason": "SAN_match"})
}

// TestServerOutsideOnARunningPod: a service moves out of the mesh, and a database that is expected under another name is
// left, with what is open to it.
func TestServerOutsideOnARunningPod(t *testing.T) {
	t.Parallel()
	ca, agent := newWebCA(t, "web"), startAgent(t, "/web")
	server := startWebServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, []string{"api.test"}, nil)}})
	database := startTLSEcho(t, ca.issue(t, []string{"db.test"}, nil))
	db := ir.Server{External: true, CA: ir.SystemCA(), Name: serverName(t, "db.test")}
	p := ir.Proxy{AgentSocket: agent.socket, ID: id("/web"), SVIDTTL: time.Minute, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, server.port), Peers: peers(t, "/api")},
		{Listen: freePort(t), Address: address(t, database), Protocol: ir.TCP, Server: db},
	}}
	x := startCaller(t, p, ca.pem(), nil)
	x.waitReady()
	url := fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[0].Listen)
	if status, _, err := get(http.DefaultClient, url); err != nil || status != 503 {
		t.Errorf("as a peer: got %d and %v", status, err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", p.Upstreams[1].Listen)
	open, err := net.Dial("tcp", at)
	must(t, err)
	must(t, roundTrip(open, "hello ", "ping"))

	p.Upstreams[0].Peers, p.Upstreams[0].Server = nil, ir.Server{External: true, CA: ir.SystemCA(), Name: serverName(t, "api.test")}
	p.Upstreams[1].Server.Name = serverName(t, "other.test")
	x.apply(p)
	eventually(t, 5*time.Second, "the service outside", answers(http.DefaultClient, url, 200))
	eventually(t, 5*time.Second, "a refusal", func() error {
		connection, err := net.Dial("tcp", at)
		must(t, err)
		defer connection.Close()
		if roundTrip(connection, "hello ", "ping") == nil {
			return errors.New("the database is still called")
		}
		return nil
	})
	must(t, open.SetDeadline(time.Now().Add((templates.DrainSeconds+10)*time.Second)))
	if _, err := io.ReadAll(open); err != nil {
		t.Errorf("the open connection did not end: %v", err)
	}
}

// startTLSEcho greets with "hello " and sends back what it gets.
func startTLSEcho(t *testing.T, certificate tls.Certificate) uint16 {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go serveEach(listener, func(connection net.Conn) {
		_, _ = io.WriteString(connection, "hello ")
		_, _ = io.Copy(connection, connection)
	})
	return portOf(listener)
}

// TestNoSystemCAs: an image without them is no reason for anything else to fail, and the log names the file.
func TestNoSystemCAs(t *testing.T) {
	t.Parallel()
	ca := newWebCA(t, "web")
	server := startWebServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, []string{"api.test"}, nil)}})
	up := ir.Upstream{Listen: freePort(t), Address: address(t, server.port),
		Server: ir.Server{External: true, CA: ir.SystemCA(), Name: serverName(t, "api.test")}}
	other := up
	other.Listen, other.Server.CA = freePort(t), caOf(t, "web")
	x := startCaller(t, ir.Proxy{Upstreams: []ir.Upstream{up, other}}, nil, map[string][]byte{"web": ca.pem()})
	x.waitReady()
	expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", other.Listen), 200, "ok")
	if status, _, err := get(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", up.Listen)); err != nil || status != 503 {
		t.Errorf("got %d and %v", status, err)
	}
	if got := x.statistic("cluster_manager.cds.update_rejected"); got != 1 {
		t.Errorf("%d updates were rejected, want 1", got)
	}
	if !strings.Contains(x.out.String(), systemCAs) {
		t.Error("the log does not name the file")
	}
}

// TestOutsideByName: one living address of a name is enough, and the name may lead elsewhere later.
func TestOutsideByName(t *testing.T) {
	t.Parallel()
	ca, agent := newWebCA(t, "web"), startAgent(t, "/web")
	server := startWebServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, []string{"www.api.test"}, nil)}})
	dns := startDNS(t)
	living, dead := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.9.9.9")
	dns.set(&backend{address: dead}, &backend{address: living})
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{{
		Listen: freePort(t), Address: named(t, server.port),
		Server: ir.Server{External: true, CA: caOf(t, "web"), Name: serverName(t, "www.api.test")},
	}}}
	x := startProxy(t, p, dns.use(t), func(data string) {
		mountFiles(t, filepath.Join(filepath.Dir(data), caFolder), "..1", map[string][]byte{"web": ca.pem()})
	})
	x.waitReady()
	url := fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[0].Listen)
	caller := &http.Client{Timeout: 5 * time.Second}
	eventually(t, 10*time.Second, "the first answer", answers(caller, url, 200))
	for range 20 {
		expect(t, caller, url, 200, "ok")
	}
	if got := server.request.Load().Host; got != "www.api.test" {
		t.Errorf("the server saw Host %q", got)
	}
	dns.set(&backend{address: dead})
	eventually(t, 20*time.Second, "a failure", answers(caller, url, 503))
	dns.set(&backend{address: living})
	eventually(t, 10*time.Second, "the name's new address", answers(caller, url, 200))
}

// TestGatewayLeadsOutside: under the server's own name, without a word of who called.
func TestGatewayLeadsOutside(t *testing.T) {
	t.Parallel()
	ca, agent := newWebCA(t, "web"), startAgent(t, "/edge")
	server := startWebServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, []string{"api.test"}, nil)}})
	p := ir.Proxy{ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Gateway: true,
		Inbound: []ir.Inbound{{Listen: freePort(t), Peers: peers(t, "/web")}},
		Upstreams: []ir.Upstream{{Match: match(t, "shop.test/api"), Address: address(t, server.port),
			Server: ir.Server{External: true, CA: caOf(t, "web"), Name: serverName(t, "api.test")}}},
	}
	x := startProxy(t, p, func(data string) {
		mountFiles(t, filepath.Join(filepath.Dir(data), caFolder), "..1", map[string][]byte{"web": ca.pem()})
	})
	x.waitReady()
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/api/x", p.Inbound[0].Listen), nil)
	must(t, err)
	request.Host = "shop.test"
	request.Header.Set("X-Spiffe-Jwt-Subject", "spiffe://example.org/forged")
	response, err := tlsClient(t, agent, "/web").Do(request)
	must(t, err)
	response.Body.Close()
	seen := server.request.Load()
	if response.StatusCode != 200 || seen == nil || seen.Host != "api.test" || seen.URL.Path != "/api/x" {
		t.Fatalf("got %s, the server saw %v", response.Status, seen)
	}
	for _, header := range []string{"X-Forwarded-Client-Cert", "X-Spiffe-Jwt-Subject"} {
		if got := seen.Header.Values(header); len(got) > 0 {
			t.Errorf("the server saw %s %q", header, got)
		}
	}
}
