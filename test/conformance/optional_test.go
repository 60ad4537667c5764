package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestOptionalCertificate holds the authorities that a real SPIRE agent names without its validator against callers:
// nobody, a peer, and those who show what is no peer's certificate. The proxy's other ports, and its upstreams, are as
// strict as ever.
func TestOptionalCertificate(t *testing.T) {
	t.Parallel()
	server := startApp(t)
	optional := ir.Inbound{Listen: port(t), App: server.port, Peers: peers(t, "/web"), Clients: ir.Request}
	foreign := ir.Inbound{Listen: port(t), App: server.port, Peers: peers(t, partner("/web")), Clients: ir.Request}
	required := ir.Inbound{Listen: port(t), App: server.port, Peers: peers(t, "/web")}
	good := startCounterpart(t, shared.own.svid(t, "/web"), nil)
	bad := startCounterpart(t, shared.partner.root.sign(t, uris(t, own("/web"))), nil)
	up := func(server *counterpart) ir.Upstream {
		return ir.Upstream{Listen: port(t), Address: address(t, server.port), Peers: peers(t, "/web")}
	}
	toGood, toBad := up(good), up(bad)
	x := startProxy(t, "/api", ir.Proxy{
		Inbound: []ir.Inbound{optional, foreign, required}, Upstreams: []ir.Upstream{toGood, toBad},
	})
	for _, listen := range []uint16{optional.Listen, foreign.Listen} {
		got, _ := serves(t, listen, showing(tls.Certificate{}))
		if diff := cmp.Diff([]string(nil), got.Header.Values("X-Forwarded-Client-Cert")); diff != "" {
			t.Errorf("the app saw X-Forwarded-Client-Cert of nobody (-want +got):\n%s", diff)
		}
	}
	got, _ := serves(t, optional.Listen, showing(shared.own.svid(t, "/web")))
	saysOnly(t, got, own("/api"), own("/web"))
	got, _ = serves(t, foreign.Listen, showing(shared.partner.svid(t, "/web")))
	saysOnly(t, got, own("/api"), partner("/web"))

	for listen, callers := range map[uint16][]tls.Certificate{
		optional.Listen: {shared.own.svid(t, "/other")},
		foreign.Listen:  {shared.partner.svid(t, "/other")},
	} {
		for _, certificate := range callers {
			if answer, err := exchange(listen, showing(certificate)); answer != "HTTP/1.1 403 Fo" && answer != "HTTP/1.1 403 For" {
				t.Errorf("one that is no peer: got %q, %v, want 403", answer, err)
			}
		}
	}
	stranger, err := newAuthority("stranger")
	must(t, err)
	for reason, callers := range map[string][]tls.Certificate{
		"CERTIFICATE_VERIFY_FAILED": {
			stranger.sign(t, uris(t, own("/web"))), shared.partner.svid(t, "/web"), shared.partner.root.sign(t, uris(t, own("/web"))),
		},
		"certificate_has_expired": {shared.own.root.sign(t, func(c *x509.Certificate) {
			uris(t, own("/web"))(c)
			c.NotAfter = time.Now().Add(-time.Second)
		})},
	} {
		for _, certificate := range callers {
			x.refuses(t, optional.Listen, showing(certificate), "", reason)
		}
	}
	x.refuses(t, required.Listen, showing(tls.Certificate{}), "", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
	x.refuses(t, required.Listen, showing(shared.own.svid(t, "/other")), "", "SAN_match")
	x.refuses(t, required.Listen, showing(shared.partner.root.sign(t, uris(t, own("/web")))), "", "CERTIFICATE_VERIFY_FAILED")
	if answer := ask(t, toGood.Listen); answer != "ok" {
		t.Errorf("upstream: got %q", answer)
	}
	if answer := ask(t, toBad.Listen); answer == "ok" || reached(bad) {
		t.Errorf("upstream: got %q of a server that is not ours", answer)
	}
}
