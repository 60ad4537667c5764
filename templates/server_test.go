package templates

import (
	"slices"
	"strings"
	"testing"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

func secretCA(t *testing.T, name string) ir.CA {
	t.Helper()
	ca, err := ir.ParseCASecret(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// outsideUpstream is a service outside the mesh.
func outsideUpstream(t *testing.T, listen uint16, at string, protocol ir.Protocol, ca ir.CA, name string, svid bool) ir.Upstream {
	t.Helper()
	up := ir.Upstream{Listen: listen, Address: address(t, at), Protocol: protocol}
	p := ir.Proxy{Upstreams: []ir.Upstream{up}}
	outside(t, &p, ca, name, svid)
	return p.Upstreams[0]
}

func outsideRoute(t *testing.T, path, at, name string) ir.Upstream {
	t.Helper()
	up := outsideUpstream(t, 0, at, ir.HTTP, ir.SystemCA(), name, false)
	up.Match = match(t, path)
	return up
}

// outside makes the first upstream one outside the mesh.
func outside(t *testing.T, p *ir.Proxy, ca ir.CA, name string, svid bool) {
	t.Helper()
	parsed, err := ir.ParseServerName(name)
	if err != nil {
		t.Fatal(err)
	}
	p.Upstreams[0].Peers = nil
	p.Upstreams[0].Server = ir.Server{External: true, CA: ca, Name: parsed, PresentSVID: svid}
}

// withoutSVID says whether a cluster is of a server outside the mesh that does not get the SVID.
func withoutSVID(proxy ir.Proxy, cluster string) bool {
	return strings.HasPrefix(cluster, "passthrough_") || slices.ContainsFunc(proxy.Upstreams, func(up ir.Upstream) bool {
		return upstreamCluster(up) == cluster && up.Server.External && !up.Server.PresentSVID
	})
}

// isOutside says whether a context is for a server outside the mesh.
func isOutside(tls *tlsv3.CommonTlsContext) bool {
	names := slices.Concat(tls.GetValidationContext().GetMatchTypedSubjectAltNames(),
		tls.GetCombinedValidationContext().GetDefaultValidationContext().GetMatchTypedSubjectAltNames())
	return len(names) == 1 && names[0].GetSanType() != tlsv3.SubjectAltNameMatcher_URI
}

// TestServersAreVerified: each certificate from outside needs a CA and has to be for one name, and the SVID goes to
// nobody who is not meant to see it.
func TestServersAreVerified(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		found := 0
		for _, up := range proxy.Upstreams {
			if !up.Server.External {
				continue
			}
			found++
			context := &tlsv3.UpstreamTlsContext{}
			if err := (envoy{proxy}).upstreamTLS(up).GetTypedConfig().UnmarshalTo(context); err != nil {
				t.Fatal(err)
			}
			common := context.GetCommonTlsContext()
			named := common.GetValidationContext()
			if named == nil {
				named = common.GetCombinedValidationContext().GetDefaultValidationContext()
				if common.GetCombinedValidationContext().GetValidationContextSdsSecretConfig() == nil {
					t.Errorf("%s: no CA", up.Address)
				}
			} else if named.GetTrustedCa().GetFilename() != SystemCAFile {
				t.Errorf("%s: CA %v", up.Address, named.GetTrustedCa())
			}
			sans := named.GetMatchTypedSubjectAltNames()
			if len(sans) != 1 || sans[0].GetMatcher().GetExact() != up.Server.Name.String() {
				t.Errorf("%s: names %v, want %s", up.Address, sans, up.Server.Name)
			}
			if got := len(common.GetTlsCertificateSdsSecretConfigs()) > 0; got != up.Server.PresentSVID {
				t.Errorf("%s: presents the SVID: %t, want %t", up.Address, got, up.Server.PresentSVID)
			}
			if sni := context.GetSni(); (sni == "") != up.Server.Name.IsIP() {
				t.Errorf("%s: SNI %q", up.Address, sni)
			}
		}
		for _, tcp := range all[*tcpproxyv3.TcpProxy](t, name, proxy) {
			if withoutSVID(proxy, tcp.GetStatPrefix()) && tcp.GetMaxDownstreamConnectionDuration() != nil {
				t.Errorf("%s ends with the SVID, which has no part in it", tcp.GetStatPrefix())
			}
		}
		if want := name == "outside" || name == "outside-gateway" || name == "names"; (found > 0) != want {
			t.Errorf("%d upstreams outside the mesh", found)
		}
	})
}
