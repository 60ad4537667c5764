package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a root CA. Its key is known to a SPIRE server, which signs with it, and to the tests, which sign what no
// SPIRE server would.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(48 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate: certificate, key: key}, err
}

func (a *authority) pem() []byte { return pemBlock("CERTIFICATE", a.certificate.Raw) }

// write makes the two files that a SPIRE server reads.
func (a *authority) write(dir string) (certificate, key string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(dir, "root.crt"), filepath.Join(dir, "root.key")
	if err := os.WriteFile(certificate, a.pem(), 0o600); err != nil {
		return "", "", err
	}
	return certificate, key, os.WriteFile(key, pemBlock("PRIVATE KEY", der), 0o600)
}

// sign issues a certificate that is valid for an hour and is good for TLS on both sides, after change has spoilt it.
func (a *authority) sign(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// uris makes [authority.sign] put these URIs in.
func uris(t *testing.T, names ...string) func(*x509.Certificate) {
	t.Helper()
	var out []*url.URL
	for _, name := range names {
		uri, err := url.Parse(name)
		must(t, err)
		out = append(out, uri)
	}
	return func(c *x509.Certificate) { c.URIs = out }
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// extend signs as if the holder of an SVID was a CA. The chain is the new certificate's.
func extend(t *testing.T, holder tls.Certificate, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	parent, err := x509.ParseCertificate(holder.Certificate[0])
	must(t, err)
	a := &authority{certificate: parent, key: holder.PrivateKey.(*ecdsa.PrivateKey)}
	out := a.sign(t, change)
	out.Certificate = append(out.Certificate, holder.Certificate...)
	return out
}
