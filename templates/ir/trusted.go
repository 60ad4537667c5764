package ir

// MaxTrustedProxies is the most that [Inbound.TrustedProxies] can be.
const MaxTrustedProxies = 16

// DefaultTrustedProxies is how many proxies before a port are believed when nothing is said. Before an app in plain text
// it is one: the app can be reached so without Envoy, and what ends TLS for it says where requests come from. Where
// Envoy is the first to be asked, it is none.
func DefaultTrustedProxies(in Inbound) uint32 {
	if in.TLS == None && in.App != 0 && in.Protocol != TCP {
		return 1
	}
	return 0
}

func tooManyTrusted(in Inbound) string {
	return unless(in.TrustedProxies <= MaxTrustedProxies, "expected 0 to %d, got %d", MaxTrustedProxies, in.TrustedProxies)
}

func trustedPeers(in Inbound) string {
	return unless(in.TrustedProxies == 0 || in.Public(),
		"has no effect where callers are peers, which are believed: remove it, or use tls: none or clientCertificate: none")
}

func trustedTCP(in Inbound) string {
	return unless(in.TrustedProxies == 0 || in.Protocol != TCP, "has no effect with protocol tcp, which has no headers: remove it")
}
