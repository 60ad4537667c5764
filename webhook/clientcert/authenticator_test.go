package clientcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ca signs the certificates of callers.
type ca struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newCA(t *testing.T) ca {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return ca{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// caller is what a caller of the name "api-server" presents, after a change of its certificate.
func (c ca) caller(t *testing.T, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "api-server"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, key.Public(), c.key)
	must(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// server answers callers that an authenticator of a file knows.
func server(t *testing.T, file string, names ...string) *httptest.Server {
	t.Helper()
	authenticator, err := New(file, names)
	must(t, err)
	go func() { _ = authenticator.Start(t.Context()) }()
	s := httptest.NewUnstartedServer(authenticator.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "answered")
	})))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	s.StartTLS() // which adds the certificate
	authenticator.Configure(s.TLS)
	t.Cleanup(s.Close)
	return s
}

// client presents a certificate, whatever the server asks for, or none.
func client(t *testing.T, s *httptest.Server, certificate *tls.Certificate) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if certificate == nil {
				return &tls.Certificate{}, nil
			}
			return certificate, nil
		},
	}}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ask returns what a caller is answered, with the status before it, or the error of the handshake.
func ask(t *testing.T, c *http.Client, s *httptest.Server) string {
	t.Helper()
	response, err := c.Get(s.URL)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.Status + ": " + string(body)
}

// handshake returns the error of a caller's handshake, or nothing. It sends no request, which could overtake the
// server's alert.
func handshake(t *testing.T, c *http.Client, s *httptest.Server) string {
	t.Helper()
	config := c.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	connection, err := tls.Dial("tcp", s.Listener.Addr().String(), config)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = connection.Close() }()
	if _, err := connection.Read(make([]byte, 1)); err != nil { // the settings of HTTP/2 come by themselves
		return err.Error()
	}
	return ""
}

func TestCallers(t *testing.T) {
	t.Parallel()
	own, other := newCA(t), newCA(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(file, own.pem, 0o600))
	anybody, named := server(t, file), server(t, file, "kube-apiserver", "api.example.org", "spiffe://example.org/api-server")
	uri, err := url.Parse("spiffe://example.org/api-server")
	must(t, err)
	const answered, refused = "200 OK: answered", "tls: "
	for name, test := range map[string]struct {
		to     *httptest.Server
		caller *tls.Certificate
		want   string // part of the answer
	}{
		"no certificate":          {anybody, nil, "tls: certificate required"},
		"of the CA":               {anybody, own.caller(t, nil), answered},
		"of another CA":           {anybody, other.caller(t, nil), refused},
		"for servers alone":       {anybody, own.caller(t, func(c *x509.Certificate) { c.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth }), refused},
		"expired":                 {anybody, own.caller(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), refused},
		"of another name":         {named, own.caller(t, nil), refused},
		"of an allowed name":      {named, own.caller(t, func(c *x509.Certificate) { c.Subject.CommonName = "kube-apiserver" }), answered},
		"of an allowed DNS name":  {named, own.caller(t, func(c *x509.Certificate) { c.DNSNames = []string{"api.example.org"} }), answered},
		"of an allowed URI":       {named, own.caller(t, func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }), answered},
		"a name, of another CA":   {named, other.caller(t, func(c *x509.Certificate) { c.Subject.CommonName = "kube-apiserver" }), refused},
		"a name that only begins": {named, own.caller(t, func(c *x509.Certificate) { c.Subject.CommonName = "kube-apiserver2" }), refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller := client(t, test.to, test.caller)
			got := handshake(t, caller, test.to)
			if got == "" {
				got = ask(t, caller, test.to)
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("expected %q, got %q", test.want, got)
			}
		})
	}
}

// Whoever answers without TLS answers nobody.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(file, newCA(t).pem, 0o600))
	authenticator, err := New(file, nil)
	must(t, err)
	recorder := httptest.NewRecorder()
	authenticator.Wrap(http.NotFoundHandler()).ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	if recorder.Code != http.StatusUnauthorized {
		t.Errorf("expected %d, got %d", http.StatusUnauthorized, recorder.Code)
	}
}

// mount writes a file as the kubelet does: the folder is another one at once.
func mount(t *testing.T, folder, version string, content []byte) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(folder, version), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, version, "ca.crt"), content, 0o600))
	must(t, os.Symlink(version, filepath.Join(folder, "..new")))
	must(t, os.Rename(filepath.Join(folder, "..new"), filepath.Join(folder, "..data")))
	before, err := filepath.Glob(filepath.Join(folder, "v*"))
	must(t, err)
	for _, old := range before {
		if filepath.Base(old) != version {
			must(t, os.RemoveAll(old))
		}
	}
}

// Another CA is in force without a restart, also for connections that are open; a file without one changes nothing.
func TestAnotherCA(t *testing.T) {
	t.Parallel()
	first, second := newCA(t), newCA(t)
	folder := t.TempDir()
	mount(t, folder, "v1", first.pem)
	file := filepath.Join(folder, "ca.crt")
	must(t, os.Symlink(filepath.Join("..data", "ca.crt"), file))
	s := server(t, file)
	old, young := client(t, s, first.caller(t, nil)), client(t, s, second.caller(t, nil))
	const answered = "200 OK: answered"
	if got := ask(t, old, s); got != answered {
		t.Fatalf("expected %q, got %q", answered, got)
	}
	if got := ask(t, young, s); got == answered {
		t.Fatal("a caller of a CA that is not in the file is answered")
	}

	mount(t, folder, "v2", []byte("none"))
	mount(t, folder, "v3", append(append([]byte{}, first.pem...), second.pem...))
	eventually(t, "both CAs", func() bool { return ask(t, young, s) == answered })
	if got := ask(t, old, s); got != answered {
		t.Errorf("expected %q, got %q", answered, got)
	}

	mount(t, folder, "v4", second.pem)
	eventually(t, "the old CA to be gone", func() bool { return strings.HasPrefix(ask(t, old, s), "401 Unauthorized: ") })
	if got := handshake(t, client(t, s, first.caller(t, nil)), s); !strings.Contains(got, "tls: ") {
		t.Errorf("expected that the handshake fails, got %q", got)
	}
	if got := ask(t, young, s); got != answered {
		t.Errorf("expected %q, got %q", answered, got)
	}
	mount(t, folder, "v5", []byte("none"))
	if got := ask(t, young, s); got != answered {
		t.Errorf("with a bad file: expected %q, got %q", answered, got)
	}
}

func TestNoFile(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(empty, []byte("none"), 0o600))
	for _, file := range []string{"", filepath.Join(t.TempDir(), "none"), empty} {
		if _, err := New(file, nil); err == nil || !strings.Contains(err.Error(), "reading the CAs of the webhook's callers") {
			t.Errorf("%q: expected an error, got %v", file, err)
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
