package files

import (
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/agentapi"
)

// keepToken has a fresh token until the context ends. One that cannot be renewed stays: whoever is shown it says that it
// has expired.
func keepToken(ctx context.Context, t Token, w *watcher, fetch func(context.Context) (*jwtsvid.SVID, error)) {
	failures := 0
	for {
		within, cancel := context.WithTimeout(ctx, agentapi.FetchTimeout)
		svid, err := fetch(within)
		cancel()
		wait := agentapi.RetryAfter(failures)
		failures++
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.warn("no token for "+t.Audience, err)
		default:
			w.setToken(t.File, svid.Marshal())
			if left := untilHalf(svid, time.Now()); left > 0 { // otherwise the agent has not renewed it yet
				failures, wait = 0, left
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// untilHalf is how long until half of a token's lifetime is over.
func untilHalf(svid *jwtsvid.SVID, now time.Time) time.Duration {
	return agentapi.Half(agentapi.IssuedAt(svid, now), svid.Expiry).Sub(now)
}
