package install

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"
)

func TestAuthorityLivesAsLongAsItIsTold(t *testing.T) {
	now := time.Now()
	const year = 365 * 24 * time.Hour
	a, err := NewAuthority("upstream", now, year)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(a.Certificate)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if got := root.NotAfter.Sub(now); got < year-time.Second || got > year {
		t.Errorf("the authority lives for %s, expected %s", got, year)
	}
	certificate, key, err := a.Serving("oidc.example.org", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for name, want := range map[string]bool{"oidc.example.org": true, "other.example.org": false} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); (err == nil) != want {
			t.Errorf("%s: expected it to be valid: %t, got %v", name, want, err)
		}
	}
}
