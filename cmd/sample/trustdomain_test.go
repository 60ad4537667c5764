package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
)

// trustDomain is a certificate authority of example.org and a key for JWT-SVIDs, and agents that give out what they
// sign.
type trustDomain struct {
	key       *ecdsa.PrivateKey
	authority *x509.Certificate
}

const trustDomainKeyID = "key"

func newTrustDomain(t *testing.T) *trustDomain {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"SPIFFE"}}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &trustDomain{key: key, authority: sign(t, template, template, key, key)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// agent starts an agent that gives its callers the identity of a path, and returns its socket.
func (d *trustDomain) agent(t *testing.T, path string) (socket string) {
	t.Helper()
	id := &url.URL{Scheme: "spiffe", Host: "example.org", Path: path}
	key := newKey(t)
	leaf := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Country: []string{"US"}, Organization: []string{"SPIRE"}}, URIs: []*url.URL{id},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, d.authority, key, d.key)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return startAgent(t, &fakeAgent{
		svids: []*workload.X509SVID{{SpiffeId: id.String(), X509Svid: leaf.Raw, X509SvidKey: encoded, Bundle: d.authority.Raw}},
		token: func(audience []string) string { return d.token(t, id.String(), audience) },
		jwks:  map[string][]byte{"spiffe://example.org": d.jwks(t)},
	})
}

func (d *trustDomain) token(t *testing.T, id string, audience []string) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", trustDomainKeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: d.key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{Subject: id, Audience: audience, Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute))}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (d *trustDomain) jwks(t *testing.T) []byte {
	t.Helper()
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: d.key.Public(), KeyID: trustDomainKeyID, Use: "jwt-svid"}}})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// nobody is the socket of no agent.
func nobody(t *testing.T) string { return "unix://" + filepath.Join(t.TempDir(), "none.sock") }
