package scene

import (
	"context"
	"fmt"
	"time"
)

// StartLimit is how long workloads may take from kubectl apply to what a demo waits for first.
const StartLimit = 2 * time.Minute

// First tries a command in a namespace until it succeeds and is as wanted; nil takes every success. what names the
// result.
func (s Scene) First(ctx context.Context, namespace, what string, c Command, wanted func(Ran) bool) (Ran, error) {
	var r Ran
	found, err := Poll(ctx, StartLimit, func() (bool, error) {
		var err error
		r, err = s.Try(ctx, c)
		return !r.Failed && (wanted == nil || wanted(r)), err
	})
	if err == nil && !found {
		err = &Mismatch{
			What: what, Expected: fmt.Sprintf("one within %s of kubectl apply", StartLimit),
			Got: r.Output() + s.NotCreated(ctx, namespace), Look: In(namespace, "get", "pods,events").String(),
		}
	}
	return r, err
}
