package files

import (
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

// keepToken has a fresh token until the context ends. One that cannot be renewed stays: whoever is shown it says that it
// has expired.
func keepToken(ctx context.Context, t Token, w *watcher, fetch func(context.Context) (*jwtsvid.SVID, error)) {
	failures := 0
	for {
		within, cancel := context.WithTimeout(ctx, fetchTimeout)
		svid, err := fetch(within)
		cancel()
		wait := min(retry<<min(failures, 10), longestRetry)
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

// untilHalf is how long until half of a token's lifetime is over, when agents renew it.
func untilHalf(svid *jwtsvid.SVID, now time.Time) time.Duration {
	issued := now
	if at, ok := svid.Claims["iat"].(float64); ok {
		issued = time.Unix(int64(at), 0)
	}
	return issued.Add(svid.Expiry.Sub(issued) / 2).Sub(now)
}
