package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestPeers: who is let in by an exact peer, by a prefix, by a whole domain, and by the same of a federated domain.
// Certificates come from the SPIRE servers, or are signed with their roots' keys where no SPIRE server would sign.
func TestPeers(t *testing.T) {
	t.Parallel()
	lists := map[string][]string{
		"exact": {"/web"}, "below": {"/ns/prod/*"}, "everyone": {"/*"},
		"partner": {partner("/web")}, "partners": {partner("/*")}, "both": {"/web", partner("/ns/prod/*")},
	}
	server := startApp(t)
	p := ir.Proxy{}
	listen := map[string]uint16{}
	for name, list := range lists {
		listen[name] = port(t)
		p.Inbound = append(p.Inbound, ir.Inbound{Listen: listen[name], App: server.port, Peers: peers(t, list...)})
	}
	x := startProxy(t, "/api", p)

	const (
		notListed = "verify_cert_failed:_SAN_match"
		wrongRoot = "unable_to_get_local_issuer_certificate"
		noDomain  = "no_trust_bundle_store" // a port has only the bundles of its peers' domains
	)
	onlyOurs, onlyTheirs := []string{"exact", "below", "everyone"}, []string{"partner", "partners"}
	ours, theirs := shared.own, shared.partner
	stranger, err := newAuthority("stranger")
	must(t, err)
	forger := ours.svid(t, "/invalid")
	tests := []struct {
		name        string
		certificate tls.Certificate
		in          []string // lists that let it in
		reason      string   // of all other refusals by ports that know the ID's domain
	}{
		{"the peer", ours.svid(t, "/web"), []string{"exact", "everyone", "both"}, notListed},
		{"a name that begins alike", ours.svid(t, "/web-evil"), []string{"everyone"}, notListed},
		{"a name below", ours.svid(t, "/web/evil"), []string{"everyone"}, notListed},
		{"a name above", ours.svid(t, "/evil/web"), []string{"everyone"}, notListed},
		{"another case", ours.svid(t, "/Web"), []string{"everyone"}, notListed},
		{"below the prefix", ours.svid(t, "/ns/prod/a"), []string{"below", "everyone"}, notListed},
		{"deep below the prefix", ours.svid(t, "/ns/prod/a/b/c"), []string{"below", "everyone"}, notListed},
		{"the prefix itself", ours.svid(t, "/ns/prod"), []string{"everyone"}, notListed},
		{"a prefix that begins alike", ours.svid(t, "/ns/prod-evil/a"), []string{"everyone"}, notListed},
		{"the prefix further below", ours.svid(t, "/evil/ns/prod/a"), []string{"everyone"}, notListed},

		{"the partner's peer", theirs.svid(t, "/web"), []string{"partner", "partners"}, notListed},
		{"the partner's name that begins alike", theirs.svid(t, "/web-evil"), []string{"partners"}, notListed},
		{"below the partner's prefix", theirs.svid(t, "/ns/prod/a"), []string{"partners", "both"}, notListed},
		{"the partner's prefix that begins alike", theirs.svid(t, "/ns/prod-evil/a"), []string{"partners"}, notListed},

		{"our ID, signed by the partner", theirs.root.sign(t, uris(t, own("/web"))), nil, wrongRoot},
		{"our ID below the prefix, signed by the partner", theirs.root.sign(t, uris(t, own("/ns/prod/a"))), nil, wrongRoot},
		{"the partner's ID, signed by us", ours.root.sign(t, uris(t, partner("/web"))), nil, wrongRoot},
		{"our ID, signed by a stranger", stranger.sign(t, uris(t, own("/web"))), nil, wrongRoot},
		{"our ID, signed by a workload", extend(t, forger, uris(t, own("/web"))), nil, "CERTIFICATE_VERIFY_FAILED"},
		{"our ID in a CA's certificate", ours.root.sign(t, func(c *x509.Certificate) {
			uris(t, own("/web"))(c)
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		}), nil, "KEY_USAGE_BIT_INCORRECT"},
		{"an unknown domain", ours.root.sign(t, uris(t, "spiffe://example.com/web")), nil, noDomain},
		{"our domain in another scheme", ours.root.sign(t, uris(t, "https://example.org/web")), nil, noDomain},
		{"our ID as a DNS name", ours.root.sign(t, func(c *x509.Certificate) { c.DNSNames = []string{own("/web")} }), nil, noDomain},
		{"our ID as a common name", ours.root.sign(t, func(c *x509.Certificate) { c.Subject.CommonName = own("/web") }), nil, noDomain},
		{"our ID, expired", ours.root.sign(t, func(c *x509.Certificate) {
			uris(t, own("/web"))(c)
			c.NotAfter = time.Now().Add(-time.Second)
		}), nil, "certificate_has_expired"},
		{"our ID, not yet valid", ours.root.sign(t, func(c *x509.Certificate) {
			uris(t, own("/web"))(c)
			c.NotBefore = time.Now().Add(30 * time.Minute)
		}), nil, "certificate_is_not_yet_valid"},
	}
	for _, test := range tests {
		if t.Failed() {
			break // each caller that is let in is waited for, because it says nothing
		}
		t.Run(test.name, func(t *testing.T) {
			leaf, err := x509.ParseCertificate(test.certificate.Certificate[0])
			must(t, err)
			unknownTo := onlyTheirs
			if len(leaf.URIs) == 1 && leaf.URIs[0].Host != "example.org" {
				unknownTo = onlyOurs
			}
			type refusal struct {
				connection map[string]string
				reason     string
			}
			var refusals []refusal
			for name := range lists {
				t.Run(name, func(t *testing.T) {
					if slices.Contains(test.in, name) {
						serves(t, listen[name], showing(test.certificate))
					} else {
						reason := test.reason
						if slices.Contains(unknownTo, name) {
							reason += "|" + noDomain
						}
						refusals = append(refusals, refusal{refused(t, listen[name], showing(test.certificate), ""), reason})
					}
				})
			}
			for _, r := range refusals {
				x.logsRefusal(t, r.connection, r.reason)
			}
		})
	}
}

// TestWithoutFederation: a foreign domain is trusted by those whose entry says so. Being named as a peer is not enough.
func TestWithoutFederation(t *testing.T) {
	t.Parallel()
	in := ir.Inbound{Listen: port(t), App: startApp(t).port, Peers: peers(t, "/web", partner("/*"))}
	x := startProxy(t, "/secluded", ir.Proxy{Inbound: []ir.Inbound{in}})
	serves(t, in.Listen, showing(shared.own.svid(t, "/web")))
	x.refuses(t, in.Listen, showing(shared.partner.svid(t, "/web")), "", "no_trust_bundle_store")
}
