package api

import (
	"context"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Applied is what came of applying the workloads.
type Applied struct {
	Ran scene.Ran `json:"-"`
	// Registered is whether SPIRE had the identity of the API already, from an earlier run: then its SVID comes sooner.
	Registered bool `json:"registeredBefore"`
	// FirstOK is what the valid client's app logged first that was a success.
	FirstOK string `json:"firstOK"`
	// Seconds from the start of apply to that.
	Seconds float64 `json:"secondsToFirstOK"`
}

// Apply applies the workloads.
func (s stage) Apply(ctx context.Context) (Applied, error) {
	entries, err := s.Entries(ctx, "-spiffeID", ID(API))
	if err != nil {
		return Applied{}, err
	}
	r, err := s.Scene.Apply(ctx, Workloads)
	return Applied{Ran: r, Registered: len(entries) > 0}, err
}

// FirstOK waits for the valid client's first success and adds it to what is known of the apply.
func (s stage) FirstOK(ctx context.Context, a Applied) (Applied, error) {
	logs := clientLog(Valid)
	last := ""
	found, err := scene.Poll(ctx, scene.StartLimit, func() (bool, error) {
		r, err := s.Try(ctx, logs)
		if err != nil || r.Failed { // no pod yet, or not started yet
			last = r.Stderr
			return false, err
		}
		for _, call := range parseCalls(r.Stdout) {
			last = call.Line
			if call.OK() {
				a.FirstOK, a.Seconds = call.Line, scene.Seconds(time.Since(a.Ran.Start))
				return true, nil
			}
		}
		return false, nil
	})
	if err == nil && !found {
		err = &scene.Mismatch{
			What: "the first ok of " + Valid, Expected: fmt.Sprintf("one within %s of kubectl apply", scene.StartLimit),
			Got: last + s.NotCreated(ctx, Namespace), Look: inDemo("get", "pods,events").String(),
		}
	}
	return a, err
}

// Pods lists the demo's pods, for the reader.
func (s stage) Pods(ctx context.Context) (scene.Ran, error) {
	return s.Run(ctx, inDemo("get", "pods"))
}

func clientLog(client string) scene.Command {
	return inDemo("logs", "deploy/"+client, "-c", clientContainer)
}

// FollowCommand follows the log of a client's app.
func FollowCommand(client string) scene.Command {
	return inDemo("logs", "-f", "deploy/"+client, "-c", clientContainer)
}
