package servingcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TrustDelay is how long after its own sight of a CA a replica takes all API servers to have seen it too. They learn
// it as the replica does, by a watch, which takes milliseconds; there is no way to ask them.
const TrustDelay = 5 * time.Second

// Registered is what the API server trusts when it calls one webhook.
type Registered struct {
	Webhook  string
	CABundle []byte // PEM
}

// Certificate is the serving certificate of one replica. The zero value has none, and needs a Host.
type Certificate struct {
	// Host is the name by which the API server calls: a certificate that is not for it is not trusted.
	Host string
	// OnPresent is called with each certificate that is presented for the first time, if it is set.
	OnPresent func(leaf *x509.Certificate)

	reading    sync.Mutex // one at a time, from the read to its effect
	mu         sync.Mutex
	presented  *tls.Certificate
	next       *tls.Certificate // came after presented, and takes its place when the API servers trust it
	registered []Registered
	keys       [][]byte  // offered in PEM: the newest, and the one before
	since      time.Time // since when next is trusted; zero while it is not
}

// ErrNone says that there was no certificate so far.
var ErrNone = errors.New("there is no serving certificate yet")

// Offer takes a new pair, in PEM. One that is not complete leaves the old one in force.
func (c *Certificate) Offer(certificate, key []byte, now time.Time) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	c.offer(&pair, now)
	c.share(key)
	return nil
}

// OfferSVIDs takes those that SPIRE has issued: the first one that is for the host. Without one the old certificate
// stays in force.
func (c *Certificate) OfferSVIDs(svids []*x509svid.SVID, now time.Time) error {
	for _, svid := range svids {
		leaf := svid.Certificates[0]
		if leaf.VerifyHostname(c.Host) != nil {
			continue
		}
		pair := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: leaf}
		for _, certificate := range svid.Certificates {
			pair.Certificate = append(pair.Certificate, certificate.Raw)
		}
		c.offer(pair, now)
		return nil
	}
	var has []string
	for _, svid := range svids {
		has = append(has, fmt.Sprintf("%s with %q", svid.ID, svid.Certificates[0].DNSNames))
	}
	return fmt.Errorf("expected an SVID with the DNS name %s, got %s: add the name to dns_names of the injector's own "+
		"registration entry", c.Host, strings.Join(has, ", "))
}

func (c *Certificate) offer(pair *tls.Certificate, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.presented != nil && c.presented.Leaf.Equal(pair.Leaf):
		c.next = nil // taken back
	case c.next == nil || !c.next.Leaf.Equal(pair.Leaf):
		c.next, c.since = pair, time.Time{}
	}
	c.weigh(now)
}

// Refresh reads what the configurations of a name register now. It may be called at the same time by the watches of
// several kinds: whoever reads last is the last to be heard, so that nobody's older sight stays.
func (c *Certificate) Refresh(ctx context.Context, configurations client.Reader, name string) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	registered, err := Read(ctx, configurations, name)
	if err != nil {
		return err
	}
	c.Trust(registered, time.Now())
	return nil
}

// Trust takes all webhooks that the API server calls here, as they are registered now.
func (c *Certificate) Trust(registered []Registered, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registered = registered
	c.weigh(now)
}

// weigh keeps since.
func (c *Certificate) weigh(now time.Time) {
	switch {
	case c.next == nil || c.trusted(c.next, now) != nil:
		c.since = time.Time{}
	case c.since.IsZero():
		c.since = now
	}
}

// Present returns the certificate for a handshake.
func (c *Certificate) Present(now time.Time) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil && c.due(now) {
		c.presented, c.next = c.next, nil
		if c.OnPresent != nil {
			c.OnPresent(c.presented.Leaf)
		}
	}
	if c.presented == nil {
		return nil, ErrNone
	}
	return c.presented, nil
}

// Get is the callback of a TLS server.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.Present(time.Now())
}

// Expiry returns when the certificate expires that is presented, or false before there is one.
func (c *Certificate) Expiry() (time.Time, bool) {
	presented, err := c.Present(time.Now())
	if err != nil {
		return time.Time{}, false
	}
	return presented.Leaf.NotAfter, true
}

// Lifetime returns how long the certificate is valid in all that is presented, or false before there is one.
func (c *Certificate) Lifetime() (time.Duration, bool) {
	presented, err := c.Present(time.Now())
	if err != nil {
		return 0, false
	}
	return presented.Leaf.NotAfter.Sub(presented.Leaf.NotBefore), true
}

// due says whether next is the better one.
func (c *Certificate) due(now time.Time) bool {
	if c.presented == nil {
		return true
	}
	if c.since.IsZero() {
		return false
	}
	// An old one that nobody trusts any more is not worth waiting with.
	return now.Sub(c.since) >= TrustDelay || c.trusted(c.presented, now) != nil
}

// Trusted says why the API server cannot verify the certificate that is presented.
func (c *Certificate) Trusted(now time.Time) error {
	presented, err := c.Present(now)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trusted(presented, now)
}

func (c *Certificate) trusted(pair *tls.Certificate, now time.Time) error {
	if len(c.registered) == 0 {
		return errors.New("no webhook is registered")
	}
	intermediates := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if certificate, err := x509.ParseCertificate(der); err == nil { // a bad one is missed when it is needed
			intermediates.AddCert(certificate)
		}
	}
	for _, r := range c.registered {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(r.CABundle) {
			return fmt.Errorf("the API server cannot call %s yet: its caBundle is empty", r.Webhook)
		}
		options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: c.Host, CurrentTime: now}
		if _, err := pair.Leaf.Verify(options); err != nil {
			return fmt.Errorf("the API server cannot call %s yet: its caBundle does not verify the serving certificate: %w",
				r.Webhook, err)
		}
	}
	return nil
}
