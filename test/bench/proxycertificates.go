package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var benchDomain = spiffeid.RequireTrustDomainFromString("example.org")

// certificateFiles is a folder with SVIDs of /api and /web and their authority, as PEM and as secrets that Envoy reads.
type certificateFiles string

// secretOf is the file of a secret, by the name that a SPIRE agent knows it by.
func (c certificateFiles) secretOf(name string) string {
	return filepath.Join(string(c), strings.NewReplacer("://", "_", "/", "_").Replace(name)+".json")
}

func (c certificateFiles) pem(name string) string { return filepath.Join(string(c), name+".pem") }

// makeCertificates fills a folder with certificates that end after so long.
func makeCertificates(dir string, last time.Duration) (certificateFiles, error) {
	c := certificateFiles(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(last),
		URIs:                  []*url.URL{benchDomain.ID().URL()},
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return c, err
	}
	if err := c.write("ca", "CERTIFICATE", der); err != nil {
		return c, err
	}
	if err := c.secret(benchDomain.IDString(), map[string]any{
		"validation_context": map[string]any{"trusted_ca": file(c.pem("ca"))},
	}); err != nil {
		return c, err
	}
	for _, name := range []string{"api", "web"} {
		if err := c.issue(name, ca, key); err != nil {
			return c, err
		}
	}
	return c, nil
}

// issue makes the SVID of /name.
func (c certificateFiles) issue(name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	id := spiffeid.RequireFromPath(benchDomain, "/"+name)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		URIs:         []*url.URL{id.URL()},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	if err := c.write(name, "CERTIFICATE", der); err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := c.write(name+"-key", "PRIVATE KEY", private); err != nil {
		return err
	}
	return c.secret(id.String(), map[string]any{"tls_certificate": map[string]any{
		"certificate_chain": file(c.pem(name)), "private_key": file(c.pem(name + "-key")),
	}})
}

func file(path string) map[string]any { return map[string]any{"filename": path} }

func (c certificateFiles) write(name, kind string, der []byte) error {
	return os.WriteFile(c.pem(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// secret writes what Envoy reads as the secret of this name.
func (c certificateFiles) secret(name string, content map[string]any) error {
	content["@type"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	content["name"] = name
	document, err := json.Marshal(map[string]any{"resources": []any{content}})
	if err != nil {
		return err
	}
	return os.WriteFile(c.secretOf(name), document, 0o600)
}
