package servingcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

const certificateBlock = "CERTIFICATE"

// extend returns bundle with the certificates of added that it lacks, and without those that have expired. Whatever
// else a bundle holds is dropped, since the API server would refuse it.
func extend(bundle, added []byte, now time.Time) []byte {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, certificate := range append(parse(bundle), parse(added)...) {
		if seen[string(certificate.Raw)] || now.After(certificate.NotAfter) {
			continue
		}
		seen[string(certificate.Raw)] = true
		out.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: certificate.Raw}))
	}
	return out.Bytes()
}

// withoutPredecessors returns bundle without the certificates that ca has replaced: those of its subject. A CA of
// another subject is none of ours; an operator put it there, or cert-manager, to which an installation is just
// changing over.
func withoutPredecessors(bundle, ca []byte) []byte {
	subjects := map[string]bool{}
	for _, certificate := range parse(ca) {
		subjects[string(certificate.RawSubject)] = true
	}
	var out bytes.Buffer
	for _, certificate := range parse(bundle) {
		if !subjects[string(certificate.RawSubject)] {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: certificate.Raw}))
		}
	}
	return out.Bytes()
}

// parse returns the certificates of a bundle in PEM that can be read.
func parse(bundle []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return out
		}
		if block.Type != certificateBlock {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, certificate)
		}
	}
}
