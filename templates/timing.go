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
	connectTimeout = 5 * time.Second
	dnsRefresh     = 5 * time.Second
	dnsRetry       = time.Second
)

// connectionLife bounds a connection so that none outlives the certificate it was opened with: SPIRE
// renews at half-life, so a certificate in use has at least half its life left.
func (p Proxy) connectionLife() time.Duration { return p.SVIDTTL / 2 }
