package replica

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// ShutdownDelay is how long a replica that has to end asks its callers to go elsewhere. The API server keeps one
// connection and uses it many times a second: each answer within that time asks it not to.
const ShutdownDelay = 3 * time.Second

// Shutdown lets a replica end without an admission lost. A server that just shuts down closes connections on which
// nothing is in flight, while a caller may be about to write on one of them, and the API server tries no webhook
// twice. The zero value is ready for use.
type Shutdown struct{ requested atomic.Bool }

// Context is done a while after signals is, and from then until then answers ask callers to go elsewhere.
func (s *Shutdown) Context(signals context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(signals))
	stop := context.AfterFunc(signals, func() {
		s.requested.Store(true)
		select {
		case <-ctx.Done():
		case <-time.After(ShutdownDelay):
			cancel()
		}
	})
	return ctx, func() { stop(); cancel() }
}

// Wrap has answers ask callers to go elsewhere, when it is time. Over HTTP/2 the server makes a GOAWAY of the header.
func (s *Shutdown) Wrap(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.requested.Load() {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}
