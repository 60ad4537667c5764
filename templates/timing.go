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
	// dnsRefresh is how often the addresses behind a name are looked up whose TTL is zero, and dnsRetry the first pause
	// after a failure.
	dnsRefresh = 3 * time.Second
	dnsRetry   = time.Second
)
