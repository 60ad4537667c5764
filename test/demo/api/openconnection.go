package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// openConnection finds the connection of peer on which the API's Envoy first answered 200 and then, since a point in
// time, 403.
func (s stage) openConnection(ctx context.Context, peer string, since time.Time) (remote string, err error) {
	log := envoyLog()
	found, err := scene.Poll(ctx, scene.LogLimit, func() (found bool, err error) {
		r, err := s.Run(ctx, log)
		remote, found = turned(scene.LinesOf(r.Stdout, scene.EventRequest, peer, time.Time{}, time.Now().Add(scene.ClockSkew)), since.Add(-scene.ClockSkew))
		return found, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{
			What: "log of the API's Envoy", Expected: fmt.Sprintf("a connection of %s on which 403 followed 200", peer), Look: log.String(),
		}
	}
	return remote, err
}

// turned is the remote address of the first connection whose requests got 200 and then, since a point in time, 403.
func turned(requests []scene.LogLine, since time.Time) (remote string, found bool) {
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
