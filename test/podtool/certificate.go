package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"time"
)

// servingLife is the life of the certificates: longer than any benchmark, short enough that a
// forgotten one does not matter.
const servingLife = 7 * 24 * time.Hour

// newServingCertificate returns a new CA, as PEM, and a certificate signed by it for hosts, which
// are DNS names or IP addresses. The CA's key is thrown away.
func newServingCertificate(hosts []string) (authority []byte, serving tls.Certificate, err error) {
	now := time.Now()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	authorityTemplate := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "podtool noop-webhook CA"},
		NotBefore:             now.Add(-time.Minute), // for clocks that are behind
		NotAfter:              now.Add(servingLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authorityTemplate, authorityTemplate, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	servingKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	servingTemplate := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hosts[0]},
		NotBefore:   authorityTemplate.NotBefore,
		NotAfter:    authorityTemplate.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			servingTemplate.IPAddresses = append(servingTemplate.IPAddresses, address)
		} else {
			servingTemplate.DNSNames = append(servingTemplate.DNSNames, host)
		}
	}
	servingDER, err := x509.CreateCertificate(rand.Reader, servingTemplate, authorityTemplate, servingKey.Public(), authorityKey)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	return authority, tls.Certificate{Certificate: [][]byte{servingDER}, PrivateKey: servingKey}, nil
}
