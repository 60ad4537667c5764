package templates

import (
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// tlsVersions are both bounds: on the client's side the default maximum is TLS 1.2. Envoy's defaults of cipher suites
// and key agreements are what is wanted: for TLS 1.2 ephemeral keys and authenticated encryption alone, and
// X25519MLKEM768 before X25519 before P-256. Tests of the real Envoy hold that.
func tlsVersions(oldest ir.TLSVersion) *tlsv3.TlsParameters {
	params := &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
	}
	if oldest == ir.TLS12 {
		params.TlsMinimumProtocolVersion = tlsv3.TlsParameters_TLSv1_2
	}
	return params
}
