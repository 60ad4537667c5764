package connections

import "time"

// Bounds are what callers may take of a port.
type Bounds struct {
	Connections int           // open at a time, of all callers
	Interrupt   bool          // a connection that has a request may make room for a new one too
	Streams     int           // requests at a time of one connection, over HTTP/2
	Headers     time.Duration // from the start of a connection to the end of its handshake, and from there to the headers
	Request     time.Duration // headers and body
	Answer      time.Duration // from the headers of a request to the end of the answer
	Idle        time.Duration // of a connection without a request
	HeaderBytes int
	FrameBytes  int // of HTTP/2: a connection keeps a buffer as large as the largest frame that was announced on it
}

// DefaultBounds are for the API server's replicas, each of which has a few connections, and for a replica of 256 MiB.
func DefaultBounds() Bounds {
	return Bounds{
		Connections: 512,
		Streams:     100,
		Headers:     30 * time.Second, // of the API server many calls wait for one handshake
		Request:     30 * time.Second,
		Answer:      30 * time.Second, // as all three, the longest that the API server waits for a webhook
		Idle:        90 * time.Second, // the API server's own
		HeaderBytes: 16 << 10,
		FrameBytes:  16 << 10, // the least that HTTP/2 allows
	}
}

// ProbeBounds are for the kubelet, which opens a connection for each probe, and for a few Prometheus, each of which
// keeps one. Both come again where a request is interrupted.
func ProbeBounds() Bounds {
	return Bounds{
		Connections: 64,
		Interrupt:   true,
		Headers:     5 * time.Second,
		Request:     5 * time.Second,
		Answer:      10 * time.Second, // as long as Prometheus waits by default
		Idle:        90 * time.Second, // longer than most leave between two scrapes
		HeaderBytes: 8 << 10,          // a token is much of it
	}
}
