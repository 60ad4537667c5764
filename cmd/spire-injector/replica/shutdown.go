package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// leaveTime is how long a replica that has to end asks its callers to go elsewhere. The API server keeps one connection and uses it
// many times a second: each answer within that time asks it not to.
const leaveTime = 3 * time.Second

// leaving lets a replica end without an admission lost. A server that just shuts down closes connections on which nothing is under way,
// while a caller may be about to write on one of them, and the API server tries no webhook twice.
type leaving struct{ asked atomic.Bool }

// context is done a while after signals is, and from then until then answers ask callers to leave.
func (l *leaving) context(signals context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(signals))
	stop := context.AfterFunc(signals, func() {
		l.asked.Store(true)
		select {
		case <-ctx.Done():
		case <-time.After(leaveTime):
			cancel()
		}
	})
	return ctx, func() { stop(); cancel() }
}

// wrap has answers ask callers to leave, when it is time. Over HTTP/2 the server makes a GOAWAY of the header.
func (l *leaving) wrap(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.asked.Load() {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}
