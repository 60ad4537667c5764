package frontproxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The files of a certificate, by the names that SPIRE gives them.
const (
	certificateFile = "svid.0.pem"
	keyFile         = "svid.0.key"
	bundleFile      = "bundle.0.pem"
)

// folder is where clients outside the cluster keep what they have: one for each cluster, on this machine.
func (s stage) folder() string {
	cluster := sha256.Sum256([]byte(s.Env.Kubeconfig))
	return filepath.Join(os.TempDir(), "spire-injector-frontproxy-"+hex.EncodeToString(cluster[:4]))
}

// client is somebody outside the cluster, with or without a certificate.
type client struct {
	folder string // that holds the three files
	bare   bool   // shows no certificate
	// anyServer takes whoever answers for the right one.
	anyServer bool
}

// curl is how a reader would do what the client does, with the proxy's port forwarded.
func (c client) curl(path string, headers ...string) string {
	words := []string{"curl", "--cacert", filepath.Join(c.folder, bundleFile)}
	if !c.bare {
		words = append(words, "--cert", filepath.Join(c.folder, certificateFile), "--key", filepath.Join(c.folder, keyFile))
	}
	for _, header := range headers {
		words = append(words, "--header", scene.Quote(header))
	}
	return strings.Join(append(words, "--resolve", Host+":"+Local+":127.0.0.1", "https://"+Host+":"+Local+path), " ")
}

// tls is the client's side of a handshake: it expects the proxy's name, by an authority of the bundle.
func (c client) tls() (*tls.Config, error) {
	bundle, err := os.ReadFile(filepath.Join(c.folder, bundleFile))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: Host, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	if !config.RootCAs.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("%s: expected certificates, found none", bundleFile)
	}
	config.InsecureSkipVerify = c.anyServer //nolint:gosec // what is asked then is only whether the server refuses
	if c.bare {
		return config, nil
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(c.folder, certificateFile), filepath.Join(c.folder, keyFile))
	// Also one of an authority that the server does not ask for, as curl does.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	return config, err
}

// Answer is what the proxy answered, with what the backend's app saw of the caller.
type Answer struct {
	Status int    `json:"status"`
	Body   string `json:"-"`
	// Forwarded is the value of X-Forwarded-Client-Cert at the app.
	Forwarded string    `json:"xForwardedClientCert,omitempty"`
	Start     time.Time `json:"-"`
	End       time.Time `json:"-"`
}

// get asks a service's port, which the client takes for the proxy's.
func (s stage) get(ctx context.Context, c client, service, path string, headers ...string) (Answer, error) {
	a := Answer{Start: time.Now()}
	config, err := c.tls()
	if err != nil {
		return a, err
	}
	address, end, err := s.Forward(ctx, service, "service/"+service, Port)
	if err != nil {
		return a, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+path, http.NoBody)
	if err != nil {
		return a, err
	}
	request.Host = Host
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Add(name, value)
	}
	response, err := (&http.Transport{TLSClientConfig: config, DisableKeepAlives: true}).RoundTrip(request)
	a.End = time.Now()
	if err != nil {
		return a, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	a.Status, a.Body = response.StatusCode, string(body)
	var saw struct {
		Headers http.Header `json:"headers"`
	}
	if json.Unmarshal(body, &saw) == nil {
		a.Forwarded = strings.Join(saw.Headers.Values("X-Forwarded-Client-Cert"), "\n")
	}
	return a, err
}

// said is an answer, or why there is none, for people.
func (a Answer) said(err error) string {
	if err != nil {
		return "no answer: " + err.Error()
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Body))
}

// refused is why a client's handshake failed, by what the client was told.
func refused(err error) (alert string, ok bool) {
	if err == nil {
		return "", false
	}
	var told tls.AlertError
	if errors.As(err, &told) {
		return told.Error(), true
	}
	_, alert, ok = strings.Cut(err.Error(), "remote error: ")
	return alert, ok
}

// forwardedURIs are the callers in X-Forwarded-Client-Cert, the first one first.
func forwardedURIs(header string) []string {
	var out []string
	for element := range strings.SplitSeq(header, ",") {
		for part := range strings.SplitSeq(element, ";") {
			if uri, ok := strings.CutPrefix(part, "URI="); ok {
				out = append(out, uri)
			}
		}
	}
	return out
}
