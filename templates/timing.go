package templates

import "time"

const (
	// idleTimeout is when a client's Envoy closes a connection to a peer that carries no request.
	// It is well below [DrainSeconds], which explains why.
	idleTimeout = 5 * time.Second
	// appIdleTimeout is the same towards the app. Many app servers close idle connections themselves
	// after 2 to 5 s, and a request that crosses such a close is lost: be earlier. On loopback a
	// new connection costs nothing.
	appIdleTimeout = time.Second
	// dnsRefresh is how often the addresses behind a name are looked up, and dnsRetry the first pause after a failure.
	dnsRefresh = 3 * time.Second
	dnsRetry   = time.Second
)

// connectionLife bounds a connection so that none outlives the certificate it was opened with: SPIRE
// renews at half-life, so a certificate in use has at least half its life left.
func (p envoy) connectionLife() time.Duration { return p.SVIDTTL / 2 }

// peerConnectionLife bounds HTTP connections to peers, of which the caller's Envoy ends each between two requests. So
// none is left when a peer ends that has served for the drain time since it was taken from DNS: a third of it for DNS,
// and the rest for requests.
func (p envoy) peerConnectionLife() time.Duration {
	if p.Drain == 0 {
		return p.connectionLife()
	}
	return min(p.connectionLife(), max(p.Drain/3, time.Millisecond).Truncate(time.Millisecond))
}
