package ir

import "time"

// Limits bound what callers of an inbound port may take. A zero is no limit.
type Limits struct {
	// MaxConnections is how many connections may be open at a time; a further one is closed at once.
	MaxConnections uint64
	// MaxRequestBytes bounds the body of a request, which passes as it comes; a longer one gets 413.
	MaxRequestBytes uint64
	// RequestTimeout is how long a request may take to arrive as a whole; a slower one gets 408.
	RequestTimeout time.Duration
	// StreamIdleTimeout is how long a request, or a web socket, may rest.
	StreamIdleTimeout time.Duration
	// IdleTimeout is how long a connection without requests stays open, and of [TCP] one that rests.
	IdleTimeout time.Duration
}

// DefaultLimits are sensible ones for a port where callers are not known, and none for others. How long a body may be,
// and how long TCP may rest, only the app knows.
func DefaultLimits(in Inbound) Limits {
	switch {
	case !in.Public():
		return Limits{}
	case in.Protocol == TCP:
		return Limits{MaxConnections: 10_000}
	}
	return Limits{
		MaxConnections:    10_000,
		RequestTimeout:    5 * time.Minute,
		StreamIdleTimeout: 5 * time.Minute,
		IdleTimeout:       15 * time.Minute, // longer than load balancers keep theirs, so that it is they who close
	}
}
