package envoy

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// sane are the cipher suites of TLS 1.2 with ephemeral keys and authenticated encryption.
func sane(suite *tls.CipherSuite) bool {
	return strings.HasPrefix(suite.Name, "TLS_ECDHE_") && (strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "CHACHA20"))
}

// handshake dials a port and says what was agreed on.
func handshake(port uint16, config *tls.Config) (tls.ConnectionState, error) {
	connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer connection.Close()
	return connection.ConnectionState(), nil
}

// only is a caller that speaks one version.
func only(version uint16) *tls.Config {
	return &tls.Config{MinVersion: version, MaxVersion: version, InsecureSkipVerify: true}
}

// TestTLS12AtPublicPorts: a public port takes it if it says so, with sane suites and groups alone. Other ports of the
// same pod do not.
func TestTLS12AtPublicPorts(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := publicApp(t, agent, ir.NoRequest)
	app := p.Inbound[0].App
	p.Inbound[0].Peers, p.Inbound[0].MinTLS, p.Inbound[0].Certificate = nil, ir.TLS12, true
	p.Inbound = append(p.Inbound,
		ir.Inbound{Listen: freePort(t), App: app, Clients: ir.Request, Peers: peers(t, "/web"), MinTLS: ir.TLS12},
		ir.Inbound{Listen: freePort(t), App: app, Clients: ir.NoRequest},
		ir.Inbound{Listen: freePort(t), App: app, Peers: peers(t, "/web")},
	)
	certificate, key := rsaCertificate(t)
	x := startProxy(t, p, func(at string) {
		y := &proxy{t: t, certificate: filepath.Join(filepath.Dir(at), "certificate")}
		y.mountSecret("..1", certificate, key)
	})
	x.waitReady()
	withRSA, withECDSA, newest, mutual := p.Inbound[0].Listen, p.Inbound[1].Listen, p.Inbound[2].Listen, p.Inbound[3].Listen

	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		port := withRSA
		if strings.Contains(suite.Name, "_ECDSA_") {
			port = withECDSA
		}
		config := only(tls.VersionTLS12)
		config.CipherSuites = []uint16{suite.ID}
		if got, err := handshake(port, config); (err == nil) != sane(suite) {
			t.Errorf("%s: got version %x and %v, want success: %t", suite.Name, got.Version, err, sane(suite))
		}
	}
	for curve, want := range map[tls.CurveID]bool{tls.X25519: true, tls.CurveP256: true, tls.CurveP384: false, tls.CurveP521: false} {
		config := only(tls.VersionTLS12)
		config.CurvePreferences = []tls.CurveID{curve}
		if _, err := handshake(withRSA, config); (err == nil) != want {
			t.Errorf("%s: got %v, want success: %t", curve, err, want)
		}
	}
	if _, err := handshake(withRSA, only(tls.VersionTLS11)); err == nil {
		t.Error("a public port took TLS 1.1")
	}
	if got, err := handshake(withRSA, &tls.Config{InsecureSkipVerify: true}); err != nil || got.Version != tls.VersionTLS13 {
		t.Errorf("a current caller got TLS %x and %v, want 1.3", got.Version, err)
	}

	// Requests, and those who they are of.
	old := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: only(tls.VersionTLS12), ForceAttemptHTTP2: true}}
	expect(t, old, fmt.Sprintf("https://127.0.0.1:%d/", withRSA), 200, "ok")
	named := tlsConfig(t, agent, id("/web").String())
	named.MinVersion, named.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	caller := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: named}}
	if got := seen(t, caller, fmt.Sprintf("https://127.0.0.1:%d/", withECDSA)); !strings.HasSuffix(got, ";URI=spiffe://example.org/web") {
		t.Errorf("the app saw %q", got)
	}

	// Whoever does not say so, and mutual ports, take 1.3 alone.
	for _, port := range []uint16{newest, mutual} {
		if got, err := handshake(port, named); err == nil {
			t.Errorf("port %d took version %x", port, got.Version)
		}
		x.waitEvent("handshake_refused", map[string]string{"listener": fmt.Sprintf("inbound_%d", port), "reason": "UNSUPPORTED_PROTOCOL"})
	}

	// On a running pod.
	p.Inbound[0].MinTLS, p.Inbound[2].MinTLS = ir.TLS13, ir.TLS12
	x.apply(p)
	eventually(t, 5*time.Second, "TLS 1.2 on another port", func() error {
		if _, err := handshake(newest, only(tls.VersionTLS12)); err != nil {
			return err
		}
		if _, err := handshake(withRSA, only(tls.VersionTLS12)); err == nil {
			return errors.New("the first port still takes it")
		}
		return nil
	})
}

// TestNoResumptionOfTLS12: a resumed session would skip the check of the certificate.
func TestNoResumptionOfTLS12(t *testing.T) {
	t.Parallel()
	p := publicApp(t, startAgent(t, "/api"), ir.NoRequest)
	p.Inbound[0].Peers, p.Inbound[0].MinTLS = nil, ir.TLS12
	startProxy(t, p).waitReady()
	config := only(tls.VersionTLS12)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 3 {
		got, err := handshake(p.Inbound[0].Listen, config)
		must(t, err)
		if got.DidResume {
			t.Error("a session was resumed")
		}
	}
}

// rsaCertificate is one with an RSA key, as a Secret has it.
func rsaCertificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"edge.test"},
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", encoded)
}
