package clientcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// Authenticator knows callers by a certificate of the CAs in a file, which is read again when it changes. A file that
// cannot be read, or has no certificate, leaves the CAs before it in force.
type Authenticator struct {
	cas   *dynamiccertificates.DynamicFileCAContent
	names []string
}

// New reads a file of CAs in PEM. Callers need one of names as the common name of their certificate, or as a DNS name
// or a URI of it; without names every certificate of the CAs will do. It is an error if there is no CA in the file.
func New(file string, names []string) (*Authenticator, error) {
	cas, err := dynamiccertificates.NewDynamicCAContentFromFile("webhook-client-ca", file)
	if err != nil {
		return nil, fmt.Errorf("reading the CAs of the webhook's callers: %w", err)
	}
	return &Authenticator{cas: cas, names: names}, nil
}

// Start reads the file whenever it changes, until ctx is done. It implements manager.Runnable.
func (a *Authenticator) Start(ctx context.Context) error {
	a.cas.Run(ctx, 1)
	return nil
}

// NeedLeaderElection says that each replica starts it.
func (*Authenticator) NeedLeaderElection() bool { return false }

// Configure has a TLS server refuse all other callers in the handshake. The rest of c has to be set before.
func (a *Authenticator) Configure(c *tls.Config) {
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = x509.NewCertPool() // none, and not those of the system
	c.SessionTicketsDisabled = true  // a resumed session is one of the CAs before
	c.VerifyConnection = func(state tls.ConnectionState) error { return a.verify(state.PeerCertificates) }
	configured := c.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		options, _ := a.cas.VerifyOptions() // there are some since New
		current := configured.Clone()
		current.ClientCAs = options.Roots
		return current, nil
	}
}

// Wrap looks at the caller again with each request: the API server keeps connections, which outlive certificates and
// CAs.
func (a *Authenticator) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.verifyRequest(r); err != nil {
			w.Header().Set("Connection", "close") // another one may have a newer certificate
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Authenticator) verifyRequest(r *http.Request) error {
	if r.TLS == nil {
		return errNone
	}
	return a.verify(r.TLS.PeerCertificates)
}

var errNone = errors.New("expected a client certificate, got none")

// verify is the rule: what was presented, the leaf first, is a certificate for clients, of the CAs of now, that has not
// expired and has an allowed name.
func (a *Authenticator) verify(presented []*x509.Certificate) error {
	if len(presented) == 0 {
		return errNone
	}
	options, _ := a.cas.VerifyOptions()
	options.Intermediates = x509.NewCertPool()
	for _, certificate := range presented[1:] {
		options.Intermediates.AddCert(certificate)
	}
	leaf := presented[0]
	if _, err := leaf.Verify(options); err != nil {
		return fmt.Errorf("client certificate: expected one of the CAs in %s: %w", a.cas.Name(), err)
	}
	if has := namesOf(leaf); len(a.names) > 0 && !slices.ContainsFunc(has, a.allowed) {
		return fmt.Errorf("client certificate: expected one of the names %q, got %.200q", a.names, has)
	}
	return nil
}

func (a *Authenticator) allowed(name string) bool { return slices.Contains(a.names, name) }

// namesOf are all names that a certificate gives to its holder.
func namesOf(leaf *x509.Certificate) []string {
	names := slices.Concat([]string{leaf.Subject.CommonName}, leaf.DNSNames)
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	return names
}
