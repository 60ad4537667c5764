package scene

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// openConnection finds the connection of peer on which the API's Envoy first answered 200 and then, since a point in time, 403.
func (s Scene) openConnection(ctx context.Context, peer string, since time.Time) (remote string, err error) {
	log := EnvoyLogCommand()
	found, err := poll(ctx, logLimit, func() (found bool, err error) {
		r, err := s.run(ctx, log)
		remote, found = turned(linesOf(r.Stdout, eventRequest, peer, time.Time{}, time.Now().Add(clockSkew)), since.Add(-clockSkew))
		return found, err
	})
	if err == nil && !found {
		err = &Mismatch{
			What: "log of the API's Envoy", Expected: fmt.Sprintf("a connection of %s on which 403 followed 200", peer), Look: log.String(),
		}
	}
	return remote, err
}

// turned is the remote address of the first connection whose requests got 200 and then, since a point in time, 403.
func turned(requests []LogLine, since time.Time) (remote string, found bool) {
	answered := map[string]bool{}
	for _, r := range requests {
		switch {
		case r.Status == http.StatusOK:
			answered[r.Remote] = true
		case r.Status == http.StatusForbidden && answered[r.Remote] && !r.Time.Before(since):
			return r.Remote, true
		}
	}
	return "", false
}
