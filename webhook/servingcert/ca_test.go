package servingcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

const host = "injector.system.svc"

// ca signs certificates of a test. Those of newCA have one subject, as those of one rotator do.
type ca struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newCA(t *testing.T, notAfter time.Time) ca {
	t.Helper()
	return newCAOf(t, "ca", notAfter)
}

func newCAOf(t *testing.T, subject string, notAfter time.Time) ca {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: subject}, NotBefore: notAfter.AddDate(-2, 0, 0), NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	c := ca{certificate: template, key: key}
	c.pem = c.sign(t, template, key)
	c.certificate = parse(c.pem)[0]
	return c
}

// leaf returns a new certificate for host and its key, in PEM.
func (c ca) leaf(t *testing.T) (certificate, key []byte) {
	t.Helper()
	own := newKey(t)
	der, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		DNSNames: []string{host}, NotBefore: c.certificate.NotBefore, NotAfter: c.certificate.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return c.sign(t, template, own), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (c ca) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
