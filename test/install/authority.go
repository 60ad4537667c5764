package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
)

// backdated is how long before it is made a certificate begins to be valid, for clocks that are behind.
const backdated = 10 * time.Second

// Authority is one that signs certificates, in PEM.
type Authority struct {
	Certificate, Key []byte
}

// NewAuthority makes an authority that signs itself.
func NewAuthority(name string, now time.Time, life time.Duration) (Authority, error) {
	template := certificate(name, now, life)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	return sign(template, nil, nil)
}

// Serving makes a certificate for a server of a DNS name.
func (a Authority) Serving(dnsName string, now time.Time, life time.Duration) (certificatePEM, keyPEM []byte, err error) {
	block, _ := pem.Decode(a.Certificate)
	parent, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	block, _ = pem.Decode(a.Key)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	template := certificate(dnsName, now, life)
	template.DNSNames, template.KeyUsage = []string{dnsName}, x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serving, err := sign(template, parent, key)
	return serving.Certificate, serving.Key, err
}

func certificate(name string, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(life),
	}
}

// sign makes a key and its certificate; without a parent it signs itself.
func sign(template, parent *x509.Certificate, parentKey any) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, err
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return Authority{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	return Authority{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, err
}

// TLSSecret puts a certificate and its key on a cluster, in the place of those that are there, with the namespace if
// need be.
func TLSSecret(ctx context.Context, env environment.Environment, namespace, name string, certificate, key []byte) error {
	return applyObjects(ctx, env, []unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}},
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
			"metadata":   map[string]any{"namespace": namespace, "name": name},
			"stringData": map[string]any{"tls.crt": string(certificate), "tls.key": string(key)},
		}},
	})
}
