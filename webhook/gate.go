package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
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
	// readTime is how long a request may take to arrive.
	readTime = 5 * time.Second
)

// Gate bounds what requests of the API server, and of whoever else reaches the port, hold in memory. Who comes too much
// gets status 429, which the API server tries again by itself until its own timeout.
type Gate struct {
	all, large *semaphore.Weighted
	metrics    *Metrics
}

// NewGate is for all handlers of a server together. Metrics may be nil.
func NewGate(metrics *Metrics) *Gate {
	return &Gate{all: semaphore.NewWeighted(inFlightBytes), large: semaphore.NewWeighted(largeInFlight), metrics: metrics}
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
		leave, room := g.enter(size)
		if !room {
			w.Header().Set("Retry-After", "1") // seconds: the API server waits that long
			g.refuse(w, r, webhook, http.StatusTooManyRequests, reason.TooManyRequests,
				"as many requests are being answered as there is memory for: try again")
			return
		}
		defer leave()
		r.Body = newTimedBody(w, r, size)
		handler.ServeHTTP(w, r)
	})
}

// enter reserves memory for a request, if there is any.
func (g *Gate) enter(size int64) (leave func(), room bool) {
	weight := max(size, leastRequest)
	if !g.all.TryAcquire(weight) {
		return nil, false
	}
	if size <= largeRequest {
		return func() { g.all.Release(weight) }, true
	}
	if !g.large.TryAcquire(weight) {
		g.all.Release(weight)
		return nil, false
	}
	return func() { g.large.Release(weight); g.all.Release(weight) }, true
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
