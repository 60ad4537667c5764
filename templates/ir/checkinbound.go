package ir

import (
	"fmt"
	"time"
)

// A check of one listener says what is wrong with one of its fields; empty is nothing.
type inboundCheck struct {
	field string
	code  Code
	check func(p Proxy, in Inbound) string
}

// inboundChecks are the rules of a listener by itself.
func inboundChecks() []inboundCheck {
	return []inboundCheck{
		{".app", AppMissing, func(p Proxy, in Inbound) string {
			return unless(
				p.Gateway || in.App != 0,
				"expected the port on which the app listens on localhost, from 1 to 65535, got none",
			)
		}},
		{".app", AppOfGateway, func(p Proxy, in Inbound) string {
			return unless(!p.Gateway || in.App == 0, "a gateway has no app; its requests go where upstreams say")
		}},
		{".app", AppAddress, func(_ Proxy, in Inbound) string {
			return unless(in.AppHost.valid() && (in.App != 0 || in.AppHost == ""),
				"expected an address of loopback or podIP with a port, got %q", in.AppHost)
		}},
		{".protocol", UnknownValue, func(_ Proxy, in Inbound) string {
			return unless(in.Protocol.valid(), "expected a known protocol, got %s", in.Protocol)
		}},
		{".protocol", TCPRoutes, func(p Proxy, in Inbound) string {
			return unless(!p.Gateway || in.Protocol != TCP, noTCPRoutes)
		}},
		{".tls", UnknownValue, func(_ Proxy, in Inbound) string {
			return unless(in.TLS.valid(), "expected a known TLS mode, got %s", in.TLS)
		}},
		{".clientCertificate", UnknownValue, func(_ Proxy, in Inbound) string {
			return unless(in.Clients.valid(), "expected a known client certificate mode, got %s", in.Clients)
		}},
		{".clientCertificate", ClientsWithTLS, func(_ Proxy, in Inbound) string {
			return unless(in.Clients == Require || in.TLS == Mutual,
				"has no effect with tls: %s, where certificates come with mutual TLS or not at all: remove one of both", in.TLS)
		}},
		{".clientCertificate", RequestWithTCP, func(_ Proxy, in Inbound) string {
			return unless(in.Clients != Request || in.Protocol != TCP,
				"expected required or none with protocol tcp, got optional: a denial takes an answer")
		}},
		{".minTLSVersion", UnknownValue, func(_ Proxy, in Inbound) string {
			return unless(in.MinTLS.valid(), "expected a known TLS version, got %s", in.MinTLS)
		}},
		{".minTLSVersion", OldTLSMutual, func(_ Proxy, in Inbound) string { return in.tooOldTLS() }},
		{".certificate", CertificateNoTLS, func(_ Proxy, in Inbound) string {
			return unless(!in.Certificate || in.TLS != None, "has no effect with tls: none: remove one of both")
		}},
		{".peers", PeersMissing, func(_ Proxy, in Inbound) string {
			return unless(len(in.Peers)+len(in.Rules) > 0 || !in.Identifies(), noPeers)
		}},
		{".peers", PeersUnused, unusedPeers},
		{".peers", PeerZero, func(_ Proxy, in Inbound) string { return zeroPeer(in.Peers) }},
		{".forwardedClients", ForwardedMissing, func(_ Proxy, in Inbound) string {
			return unless(in.Forwarded == nil || len(in.Forwarded) > 0,
				"expected at least one client, got an empty list: remove it where peers call for themselves")
		}},
		{".forwardedClients", ForwardedPublic, func(_ Proxy, in Inbound) string {
			return unless(in.Forwarded == nil || !in.Public(),
				"has no effect where callers may come without a certificate, who could name any client: "+
					"remove it, or use tls: mutual and clientCertificate: required")
		}},
		{".forwardedClients", ForwardedTCP, func(_ Proxy, in Inbound) string {
			return unless(in.Forwarded == nil || in.Protocol != TCP,
				"expected protocol http, http2 or grpc, whose requests name the client in a header, got tcp")
		}},
		{".forwardedClients", ForwardedAudited, func(_ Proxy, in Inbound) string {
			return unless(in.Forwarded == nil || !in.Audit || in.Public(),
				"is not possible where peers are audited: others than the gateways are let in, who could name any client")
		}},
		{".forwardedClients", PeerZero, func(_ Proxy, in Inbound) string { return zeroPeer(in.Forwarded) }},
		{".trustedProxies", TrustedTooMany, func(_ Proxy, in Inbound) string { return tooManyTrusted(in) }},
		{".trustedProxies", TrustedOnPublic, func(_ Proxy, in Inbound) string { return trustedPeers(in) }},
		{".trustedProxies", TrustedWithTCP, func(_ Proxy, in Inbound) string { return trustedTCP(in) }},
		{".jwt", JWTWithTCP, func(_ Proxy, in Inbound) string {
			return unless(in.JWT.IsZero() || in.Protocol != TCP, noTokensInTCP)
		}},
		{".jwt.audiences", AudienceMissing, func(_ Proxy, in Inbound) string {
			return unless(in.JWT.IsZero() || len(in.JWT.Audiences) > 0,
				"expected at least one audience, got none; without audiences it is the pod's own SPIFFE ID")
		}},
		{".jwt.audiences", AudienceSpelling, func(_ Proxy, in Inbound) string { return misspelt(in.JWT.Audiences...) }},
		{".jwt.subjects", SubjectsMissing, func(_ Proxy, in Inbound) string {
			return unless(in.JWT.IsZero() || len(in.JWT.Subjects) > 0,
				`expected at least one subject that may call, got none; "/*" stands for the whole trust domain`)
		}},
		{".jwt.subjects", PeerZero, func(_ Proxy, in Inbound) string { return zeroPeer(in.JWT.Subjects) }},
	}
}

const (
	noTCPRoutes   = "expected http, http2 or grpc at a gateway, which routes by host and path, got tcp"
	noPeers       = `expected at least one peer, got none; "/*" allows the whole trust domain`
	noTokensInTCP = "tokens are for requests, expected protocol http, http2 or grpc, got tcp: remove jwt"
)

func unusedPeers(_ Proxy, in Inbound) string {
	if in.Identifies() || in.Peers == nil && in.Rules == nil {
		return ""
	}
	subjects := ""
	if !in.JWT.IsZero() {
		subjects = "; whose tokens pass is in jwt.subjects"
	}
	if in.TLS == None {
		return "has no effect without TLS, where nobody presents a certificate: remove peers, or use tls: mutual or permissive" + subjects
	}
	return "has no effect with clientCertificate: none, where nobody presents a certificate: remove peers, or use required or optional" + subjects
}

// checkInbound applies the rules of each listener, and those between listeners.
func (p Proxy) checkInbound(found *problems, ports portOwners) {
	checks, tooManyRules := inboundChecks(), p.checkRuleCounts(found)
	speaks := map[uint16]Protocol{}
	for i, in := range p.Inbound {
		path := fmt.Sprintf("inbound[%d]", i)
		for _, c := range checks {
			if text := c.check(p, in); text != "" {
				found.tell(path+c.field, c.code, "%s", text)
			}
		}
		if !tooManyRules {
			in.checkRules(found, path)
		}
		in.checkLimits(found, path+".limits")
		if in.App == 0 {
			continue
		}
		if owner := ports.envoy[in.App]; owner != "" {
			// Forwarding there would be a loop, or open the admin interface to callers.
			found.tell(
				path+".app",
				AppIsSidecar,
				"expected a port of the app, but port %d is used by %s; let the app listen on another port",
				in.App,
				owner,
			)
		} else if in.App == in.Listen {
			found.tell(path+".app", AppIsSidecar, "port %d is the sidecar's own inbound port; let the app listen on another port", in.App)
		}
		if first := p.AppHostOf(in.App); first != in.AppHost {
			found.tell(path+".app", AppAddresses, "expected %s, as in an earlier listener, got %s",
				first.With(in.App), in.AppHost.With(in.App))
		}
		if earlier, ok := speaks[in.App]; ok && earlier != in.Protocol {
			found.tell(
				path+".app",
				AppProtocols,
				"expected protocol %s for the app's port %d, as in an earlier listener, got %s",
				earlier,
				in.App,
				in.Protocol,
			)
		}
		speaks[in.App] = in.Protocol
	}
	p.checkRequested(found)
}

// checkRequested finds ports that need the SPIFFE validator beside one that cannot have it: there is one for all of an
// Envoy, and it refuses callers without a certificate.
func (p Proxy) checkRequested(found *problems) {
	request := p.request()
	if request < 0 {
		return
	}
	audited := false
	for i, in := range p.Inbound {
		if !in.Identifies() {
			continue
		}
		audited = audited || in.Audit
		callers := in.Callers()
		if _, one := OneTrustDomain(callers); !one && len(callers) > 0 {
			found.tell(
				fmt.Sprintf("inbound[%d].peers", i),
				SeveralDomains,
				"expected peers of one trust domain in a pod with clientCertificate: optional, got %s: write a listener for each",
				domainsOf(callers),
			)
		}
	}
	if audited {
		found.tell(fmt.Sprintf("inbound[%d].clientCertificate", request), RequestAudited,
			"optional is not possible where peers are audited: write required or none, or enforce")
	}
}

// checkLimits finds limits that have no meaning.
func (in Inbound) checkLimits(found *problems, path string) {
	l := in.Limits
	for _, limit := range []struct {
		field      string
		time       time.Duration
		ofRequests bool // and not of connections
	}{
		{".maxRequestBytes", 0, l.MaxRequestBytes > 0},
		{".requestTimeout", l.RequestTimeout, l.RequestTimeout > 0},
		{".streamIdleTimeout", l.StreamIdleTimeout, l.StreamIdleTimeout > 0},
		{".idleTimeout", l.IdleTimeout, false},
	} {
		if limit.time < 0 {
			found.tell(path+limit.field, LimitNegative, "expected 0s or more, got %s", limit.time)
		}
		if limit.ofRequests && in.Protocol == TCP {
			found.tell(path+limit.field, LimitWithTCP, "has no effect with protocol tcp, which has no requests: remove it")
		}
	}
}
