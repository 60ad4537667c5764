package templates

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

const (
	// CertificateDir is where a Secret of type kubernetes.io/tls is mounted whose certificate inbound ports show. The
	// kubelet replaces its files together, as those in [ConfigDir].
	CertificateDir = "/etc/envoy-certificate"
	// certificateName is the certificate's name in CertificateFile.
	certificateName = "certificate"
)

// secretCertificateFiles is the content of CertificateFile: where the Secret's files are. Only what comes in such a
// file is read again when they change; certificate and key are read together.
func secretCertificateFiles() []*tlsv3.Secret {
	file := func(name string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: CertificateDir + "/" + name}}
	}
	return []*tlsv3.Secret{
		{Name: certificateName, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: file("tls.crt"),
			PrivateKey:       file("tls.key"),
			WatchedDirectory: &corev3.WatchedDirectory{Path: CertificateDir},
		}}},
	}
}

// secretCertificate is the Secret's certificate for a port to show.
func (p envoy) secretCertificate() []*tlsv3.SdsSecretConfig {
	source := p.watchedFile(CertificateFile)
	// Wait for a good one for as long as it takes, as for the SVID.
	source.InitialFetchTimeout = lasting(0)
	return []*tlsv3.SdsSecretConfig{{Name: certificateName, SdsConfig: source}}
}
