package ir

import (
	"slices"
	"time"
)

// Resilience says what becomes of calls to an upstream that is slow, fails or is gone. The zero value is the default:
// nothing ends that goes on without Envoy too, and what was never sent is tried again.
type Resilience struct {
	// Timeout bounds a request from its end to the end of the answer, with all retries. Zero is no bound. Not with TCP.
	Timeout time.Duration
	// ConnectTimeout bounds one attempt to connect, with the TLS handshake. Zero is the default.
	ConnectTimeout time.Duration
	// IdleTimeout is how long a request, a web socket or a TCP connection may rest. Zero is no bound.
	IdleTimeout time.Duration
	// Retries is zero for the default: what was never sent is tried again.
	Retries Retries
	// Outliers is zero where no address is ejected.
	Outliers OutlierDetection
	// MaxConnections is how many connections may be open at a time, up to [MaxUpstreamConnections]; zero is no bound. More
	// requests wait; one more connection of [TCP] is closed.
	MaxConnections uint32
}

// Retries say what is tried again, each time at another address if there is one.
type Retries struct {
	// Off says that nothing is tried again, whatever the reason.
	Off bool
	// Attempts is how many times it is tried again at most, up to [MaxRetryAttempts]. Zero is [DefaultAttempts].
	Attempts int
	// On are conditions of [RetryConditions] beside those that are always in force: it was never sent.
	On []string
	// PerTryTimeout bounds each try. Zero is no bound.
	PerTryTimeout time.Duration
}

// OutlierDetection takes an address that fails out of use for a while.
type OutlierDetection struct {
	// ConsecutiveErrors is after how many failures in a row: an answer of 5xx, a failed connection, or no answer.
	ConsecutiveErrors uint32
	// Interval is how often Envoy looks whether the time of an ejected address is over.
	Interval time.Duration
	// EjectionTime is how long an address is ejected the first time; the second time it is twice as long, and so on.
	EjectionTime time.Duration
	// MaxEjectionPercent is how many of the addresses may be ejected at a time, 1 to 100.
	MaxEjectionPercent uint32
}

// Bounds of [Resilience].
const (
	MinUpstreamTime        = time.Millisecond // what Envoy counts in
	MaxUpstreamTime        = 24 * time.Hour
	MaxRetryAttempts       = 10
	MaxConsecutiveErrors   = 1000
	MaxUpstreamConnections = 1_000_000
)

// DefaultAttempts are enough that a request finds a living address among several, and that one address is not given up
// sooner than after 5 s.
const DefaultAttempts = 4

// DefaultOutlierDetection is what an upstream that asks for it leaves out: Envoy's own defaults, but for the percentage,
// so that of two addresses one may be ejected.
func DefaultOutlierDetection() OutlierDetection {
	return OutlierDetection{
		ConsecutiveErrors: 5, Interval: 10 * time.Second, EjectionTime: 30 * time.Second, MaxEjectionPercent: 50,
	}
}

// RetryConditions are those of [Retries.On], in the words of Envoy's retry policy. Those of gRPC come last.
func RetryConditions() []string {
	return slices.Concat(neverSent[:], sentConditions[:], grpcConditions[:])
}

// NeverSent are the conditions that are always in force: the other side has seen nothing of the request.
func NeverSent() []string { return slices.Clone(neverSent[:]) }

// resetConditions are those under which a try that took too long is tried again.
var (
	neverSent       = [...]string{"connect-failure", "refused-stream"}
	sentConditions  = [...]string{"5xx", "gateway-error", "reset", "retriable-4xx"}
	resetConditions = [...]string{"5xx", "gateway-error", "reset"}
	grpcConditions  = [...]string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}
)

// Tries is how many attempts there are in all.
func (r Retries) Tries() uint32 {
	switch {
	case r.Off:
		return 1
	case r.Attempts == 0:
		return 1 + DefaultAttempts
	}
	return 1 + uint32(r.Attempts) //nolint:gosec // a rule bounds it
}

// IsZero says whether nothing is written.
func (r Retries) IsZero() bool {
	return !r.Off && r.Attempts == 0 && len(r.On) == 0 && r.PerTryTimeout == 0
}
