package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Bounds of requests, before they are read. The API server takes objects of 3 MiB at most, and a request has two.
const (
	maxRequestBytes = 7 << 20
	largeRequest    = 1 << 20
	// inFlightBytes are those of all requests that are being answered. Each counts for leastRequest at least.
	inFlightBytes = 32 << 20
	leastRequest  = 128 << 10
	// largeInFlight are those of large ones: the rest is for the others.
	largeInFlight = 8 << 20
	// fairShare is how many times what an address leaves to others it may hold itself: three quarters when it is alone.
	fairShare = 3
	// readTime is how long a request may take to arrive, and writeTime how long its answer to be taken.
	readTime  = 5 * time.Second
	writeTime = 5 * time.Second
)

// Gate bounds what requests of the API server, and of whoever else reaches the port, hold in memory. Who comes too much
// gets status 429, which the API server tries again by itself until its own timeout. An address never takes all:
// another one that comes finds a part of what is left.
type Gate struct {
	metrics *Metrics

	mu        sync.Mutex
	free      int64
	freeLarge int64
	held      map[netip.Addr]int64
}

// NewGate is for all handlers of a server together. Metrics may be nil.
func NewGate(metrics *Metrics) *Gate {
	return &Gate{metrics: metrics, free: inFlightBytes, freeLarge: largeInFlight, held: map[netip.Addr]int64{}}
}

// Wrap is a handler that reads no more than it has memory for. The webhook is one of the paths.
func (g *Gate) Wrap(webhook string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 { // it is not said
			size = maxRequestBytes
		}
		if size > maxRequestBytes {
			g.refuse(w, r, webhook, http.StatusRequestEntityTooLarge, reason.OverLimit,
				fmt.Sprintf("expected at most %d bytes, got %d", maxRequestBytes, size))
			return
		}
		leave, room := g.enter(sender(r), size)
		if !room {
			w.Header().Set("Retry-After", "1") // seconds: the API server waits that long
			g.refuse(w, r, webhook, http.StatusTooManyRequests, reason.TooManyRequests,
				"as many requests are being answered as there is memory for: try again")
			return
		}
		defer leave()
		r.Body = newTimedBody(w, r, size)
		handler.ServeHTTP(&timedAnswer{ResponseWriter: w}, r)
	})
}

// enter reserves memory for a request, if there is any for this address.
func (g *Gate) enter(from netip.Addr, size int64) (leave func(), room bool) {
	weight, large := max(size, leastRequest), int64(0)
	if size > largeRequest {
		large = size
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if weight > g.free || g.held[from]+weight > fairShare*g.free || large > g.freeLarge {
		return nil, false
	}
	g.move(from, weight, large)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.move(from, -weight, -large)
	}, true
}

// move is for who holds the lock.
func (g *Gate) move(from netip.Addr, weight, large int64) {
	g.free -= weight
	g.freeLarge -= large
	if g.held[from] += weight; g.held[from] == 0 {
		delete(g.held, from)
	}
}

// sender is the address that a request comes from. Those that come from no IP address share one.
func sender(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

func (g *Gate) refuse(
	w http.ResponseWriter, r *http.Request, webhook string, code int, why reason.Reason, text string,
) {
	log.FromContext(r.Context()).Info("refused", "webhook", webhook, "reason", why, "error", text)
	g.metrics.observe(webhook, "", "refused", why, 0)
	http.Error(w, string(why)+": "+text, code)
}

// timedBody is a body that has to arrive in time: who writes slowly would else keep the memory for as long as it likes.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func newTimedBody(w http.ResponseWriter, r *http.Request, most int64) io.ReadCloser {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(readTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		log.FromContext(r.Context()).Info("the time to read the request is not bounded", "error", err.Error())
	}
	return timedBody{http.MaxBytesReader(w, r.Body, most), control}
}

// Read lifts the deadline when all has arrived: the connection is used again.
func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// timedAnswer is an answer that has to be taken in time: who does not read would else keep the memory.
type timedAnswer struct {
	http.ResponseWriter
	begun bool
}

func (a *timedAnswer) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = true
		// Where deadlines are not supported, what serves has its own.
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTime))
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
