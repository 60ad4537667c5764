package templates

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	tlsSocket = "tls"
	// allBundles is the name under which the agent serves its own and the federated bundles, each
	// bound to its trust domain. A pooled CA list would accept an ID of one domain signed by another.
	allBundles = "ALL"
)

// bundle is the name of the bundles that peers are verified with. Where all of them are of one domain, it is that
// domain's alone: with all bundles Envoy picks the one of the first URI in a certificate, but accepts any URI in it as
// the peer's ID, so a CA could put an ID of another domain behind one of its own. Where there are several domains,
// [oneID] stands against that.
func bundle(peers []ir.Peer) string {
	td, one := ir.OneTrustDomain(peers)
	if !one {
		return allBundles
	}
	return td.IDString()
}

// downstreamTLS accepts the peers, or everyone of a trusted domain on a port whose peers are only audited, or which
// takes callers without a certificate too.
func (p envoy) downstreamTLS(in ir.Inbound) *corev3.TransportSocket {
	peers, alpn := in.Verified(), []string{"h2", "http/1.1"}
	if in.Protocol == ir.TCP {
		alpn = nil
	}
	both := mutualTLS(p.ID, peers, acceptedInHandshake(peers, in.Refused, in.Protocol != ir.TCP), alpn...)
	both.TlsParams = tlsVersions(in.MinTLS)
	if in.Certificate {
		both.TlsCertificateSdsSecretConfigs = p.secretCertificate()
	}
	required := yes()
	switch in.Clients {
	case ir.Require:
	case ir.Request:
		required = no()
		// With names to match Envoy demands a certificate again. Whose it is, authorization asks with each request.
		both.GetCombinedValidationContext().DefaultValidationContext.MatchTypedSubjectAltNames = nil
	case ir.NoRequest:
		required = no()
		both.ValidationContextType = nil
	}
	return tlsTransport(&tlsv3.DownstreamTlsContext{
		CommonTlsContext:         both,
		RequireClientCertificate: required,
		// A resumed session skips the check of the certificate, also of an expired one.
		SessionTicketKeysType: &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{
			DisableStatelessSessionResumption: true,
		},
		DisableStatefulSessionResumption: true,
	})
}

func (p envoy) upstreamTLS(up ir.Upstream) *corev3.TransportSocket {
	var alpn []string
	switch {
	case up.Protocol.IsHTTP2():
		alpn = []string{"h2"}
	case up.Protocol == ir.HTTP:
		alpn = []string{"http/1.1"}
	}
	if up.Server.External {
		return p.serverTLS(up, alpn...)
	}
	return tlsTransport(&tlsv3.UpstreamTlsContext{
		CommonTlsContext: mutualTLS(p.ID, up.Peers, acceptedInHandshake(up.Peers, up.Refused, false), alpn...),
		MaxSessionKeys:   count(0), // no resumption, as above
	})
}

func tlsTransport(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       tlsSocket,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(context)},
	}
}

// mutualTLS is what both sides have in common: own certificate, bundles of the peers, and the accepted names.
func mutualTLS(
	id spiffeid.ID, peers []ir.Peer, accepted []*tlsv3.SubjectAltNameMatcher, alpn ...string,
) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams:     tlsVersions(ir.TLS13),
		AlpnProtocols: alpn,
		// The ID by name: what "default" means is arbitrary when there are several.
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: id.String(), SdsConfig: agentSource()}},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: accepted},
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: bundle(peers), SdsConfig: agentSource()},
			},
		},
	}
}

// uriMatcher is the rule of [ir.Peer.Matches] in Envoy's words.
func uriMatcher(peer ir.Peer) *matcherv3.StringMatcher {
	if peer.IsPrefix() {
		return prefixMatcher(peer.URIPrefix())
	}
	return exactString(peer.String())
}

// agentSource is the SPIRE agent's SDS. It must be the same everywhere, byte for byte: Envoy shares a
// stream to the agent only between equal sources.
func agentSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		// Wait for the SVID for as long as it takes; the default of 15 s goes live without one.
		InitialFetchTimeout: lasting(0),
		ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType:             corev3.ApiConfigSource_GRPC, // the agent has no incremental SDS
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcServices: []*corev3.GrpcService{{
				TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
					ClusterName: agentCluster,
					// The agent refuses until the registration entry has arrived: ask often, it is local. The longest pause is
					// ten times the first.
					RetryPolicy: &corev3.RetryPolicy{
						RetryBackOff: &corev3.BackoffStrategy{BaseInterval: lasting(100 * time.Millisecond)},
					},
				}},
			}},
		}},
	}
}
