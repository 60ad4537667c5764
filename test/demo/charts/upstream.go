package charts

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	"github.com/spire-injector/spire-injector/test/install"
)

// writeAuthority makes a certificate authority of a day, as files tls.crt and tls.key of a folder.
func writeAuthority(folder string) error {
	authority, err := install.NewAuthority(upstreamName, time.Now(), 24*time.Hour)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "tls.crt"), authority.Certificate, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "tls.key"), authority.Key, 0o600)
}

// subjects are the names of the certificates in a PEM text.
func subjects(text string) (names []string, err error) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return names, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return names, err
		}
		names = append(names, certificate.Subject.CommonName)
	}
}
