package ir

import (
	"fmt"
	"slices"
	"strings"
)

// A check of one upstream says what is wrong with one of its fields; empty is nothing.
type upstreamCheck struct {
	field string
	code  Code
	check func(p Proxy, up Upstream) string
}

// upstreamChecks are the rules of an upstream by itself, but for those about ports.
func upstreamChecks() []upstreamCheck {
	return []upstreamCheck{
		{".listen", ListenOfGateway, func(p Proxy, up Upstream) string {
			return unless(
				!p.Gateway || up.Listen == 0,
				"a gateway has no app that could talk to it: its ports are in inbound, remove listen",
			)
		}},
		{".match", MatchMissing, func(p Proxy, up Upstream) string {
			return unless(!p.Gateway || !up.Match.IsZero(),
				`expected the host and path of the requests that go there, such as "/api" or "api.example.org/", got none`)
		}},
		{".match", MatchNoGateway, func(p Proxy, up Upstream) string {
			return unless(p.Gateway || up.Match.IsZero(), "is for gateways, which route requests by host and path: remove match")
		}},
		{".address", AddressMissing, func(_ Proxy, up Upstream) string {
			return unless(up.Address != Address{}, `expected host:port such as "api.default.svc:8443", got none; `+
				`or a name in listen that says it too, such as "api:8443"`)
		}},
		{".host", HostSpelling, func(_ Proxy, up Upstream) string { return misspeltHost(up) }},
		{".host", HostWithTCP, func(_ Proxy, up Upstream) string { return hostOfTCP(up) }},
		{".protocol", UnknownValue, func(_ Proxy, up Upstream) string {
			return unless(up.Protocol.valid(), "expected a known protocol, got %s", up.Protocol)
		}},
		{".protocol", TCPRoutes, func(p Proxy, up Upstream) string {
			return unless(!p.Gateway || up.Protocol != TCP, noTCPRoutes)
		}},
		{".peers", PeersMissing, func(_ Proxy, up Upstream) string {
			return unless(len(up.Peers) > 0 || up.Server.External, noPeers)
		}},
		{".peers", PeerZero, func(_ Proxy, up Upstream) string { return zeroPeer(up.Peers) }},
		{".peers", SeveralDomains, func(_ Proxy, up Upstream) string {
			// Envoy, as a client, would trust the CA of each of these domains for the peers of all of them.
			if _, one := OneTrustDomain(up.Peers); one || len(up.Peers) == 0 {
				return ""
			}
			return fmt.Sprintf("expected peers of one trust domain, got %s: write an upstream for each", domainsOf(up.Peers))
		}},
		{".jwt", JWTWithTCP, func(_ Proxy, up Upstream) string {
			return unless(up.JWTAudience == "" || up.Protocol != TCP, noTokensInTCP)
		}},
		{".jwt.audience", AudienceSpelling, func(_ Proxy, up Upstream) string {
			if up.JWTAudience == "" {
				return ""
			}
			return misspelt(up.JWTAudience)
		}},
	}
}

// checkUpstreams applies the rules of each upstream, and those between upstreams.
func (p Proxy) checkUpstreams(found *problems) {
	checks := slices.Concat(upstreamChecks(), nameChecks(), serverChecks(), resilienceChecks())
	matched := map[Match]int{}
	for i, up := range p.Upstreams {
		path := fmt.Sprintf("upstreams[%d]", i)
		for _, c := range checks {
			if text := c.check(p, up); text != "" {
				found.tell(path+c.field, c.code, "%s", text)
			}
		}
		if up.Match.IsZero() {
			continue
		}
		if earlier, twice := matched[up.Match]; twice {
			found.tell(path+".match", MatchTwice, "%s is matched already by [%d]", up.Match, earlier)
			continue
		}
		matched[up.Match] = i
	}
}

// unless is the text of a rule that is broken.
func unless(holds bool, format string, args ...any) string {
	if holds {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func zeroPeer(peers []Peer) string {
	return unless(!slices.ContainsFunc(peers, Peer.IsZero), "expected peers that ParsePeer made, got the zero value")
}

func misspelt(audiences ...string) string {
	i := slices.IndexFunc(audiences, func(s string) bool { return s == "" || !isPrintable(s) })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("expected audiences in printable ASCII, got %q", audiences[i])
}

// domainsOf lists the trust domains of peers for a message, in the order in which they come.
func domainsOf(peers []Peer) string {
	var names []string
	for _, peer := range peers {
		if name := peer.TrustDomain().Name(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}
