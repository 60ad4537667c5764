package templates

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	// SystemCAFile is where Envoy's official images, and all of Debian's kind, have the CAs of the public web. Envoy has no
	// setting for the CAs of the system.
	SystemCAFile = "/etc/ssl/certs/ca-certificates.crt"
	// CADir is where each Secret with a CA is mounted, as a file of the Secret's name.
	CADir = "/etc/envoy-ca"
	// caName is the CA's name in its file.
	caName = "ca"
)

// CAFile is the name of the n-th file, from 0, that says where the CA of a Secret is. Envoy takes one secret from a
// file.
func CAFile(n int) string { return fmt.Sprintf("ca-%d.yaml", n) }

// caFile is the content of a [CAFile]: only what comes in such a file is read again when it changes.
func caFile(secret string) []*tlsv3.Secret {
	return []*tlsv3.Secret{{
		Name: caName,
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:        fileSource(CADir + "/" + secret),
			WatchedDirectory: &corev3.WatchedDirectory{Path: CADir},
		}},
	}}
}

func fileSource(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

// serverTLS takes a certificate of the CA, for the name, by TLS 1.2 or 1.3.
func (p envoy) serverTLS(up ir.Upstream, alpn ...string) *corev3.TransportSocket {
	common := &tlsv3.CommonTlsContext{TlsParams: tlsVersions(ir.TLS12), AlpnProtocols: alpn}
	if up.Server.PresentSVID {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{{Name: p.ID.String(), SdsConfig: agentSource()}}
	}
	named := &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{serverName(up.Server.Name)}}
	if n := slices.Index(p.CASecrets(), up.Server.CA.Secret()); n >= 0 {
		common.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         named,
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: caName, SdsConfig: p.watchedFile(CAFile(n))},
			},
		}
	} else {
		named.TrustedCa = fileSource(SystemCAFile)
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: named}
	}
	context := &tlsv3.UpstreamTlsContext{CommonTlsContext: common, MaxSessionKeys: count(0)} // as to peers
	if !up.Server.Name.IsIP() {
		context.Sni = up.Server.Name.String()
	}
	return tlsTransport(context)
}

// serverName matches the name in a certificate, also where it is there with a wildcard, which Envoy compares as RFC 6125
// has it.
func serverName(name ir.ServerName) *tlsv3.SubjectAltNameMatcher {
	kind := tlsv3.SubjectAltNameMatcher_DNS
	if name.IsIP() {
		kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	}
	return &tlsv3.SubjectAltNameMatcher{
		SanType: kind,
		Matcher: exactString(name.String()),
	}
}

// lookUpOutside looks a name outside of the mesh up as clients do: one of its addresses, of either family, is as good as any
// other. Where one does not answer the next is tried after 300 ms.
func lookUpOutside(dns *dnsclusterv3.DnsCluster) {
	dns.DnsLookupFamily = commondnsv3.DnsLookupFamily_ALL
	dns.AllAddressesInSingleEndpoint = true
}

// showsSVID says whether Envoy presents the SVID to an upstream, whose end ends what was opened with it.
func showsSVID(up ir.Upstream) bool { return !up.Server.External || up.Server.PresentSVID }

// calledFor is for how long an HTTP connection to an upstream takes requests. Where the SVID has no part in it, the end
// lets Envoy look at the server's certificate again.
func (p envoy) calledFor(up ir.Upstream) *durationpb.Duration {
	if !showsSVID(up) {
		return lasting(p.freshness())
	}
	return lasting(p.peerConnectionLife())
}

// leaveMesh makes the routes of a gateway that lead outside say the name of the server in Host, and tell nobody there
// who called.
func (p envoy) leaveMesh(routes *routev3.RouteConfiguration) {
	for _, up := range p.Upstreams {
		if !up.Server.External {
			continue
		}
		for route := range routesOf(routes, up) {
			rewriteHost(route, up.SentHost())
			route.RequestHeadersToRemove = []string{xfccHeader, JWTSubjectHeader}
		}
	}
}

// calledMetadata is not read by any filter, see [envoy.tcpUpstream].
func calledMetadata(up ir.Upstream) *corev3.Metadata {
	if up.Server.External {
		return serverMetadata(up.Server)
	}
	return peersMetadata(up.Peers)
}

// serverMetadata is [peersMetadata] of a service outside the mesh.
func serverMetadata(s ir.Server) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"spire-injector": {Fields: map[string]*structpb.Value{"server": structpb.NewStringValue(fmt.Sprint(s.Name, ", ", s.CA))}},
	}}
}
