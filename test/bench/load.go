package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is the outcome of many requests.
type load struct {
	PerSecond  float64 `json:"perSecond"` // of those that succeeded
	P50        seconds `json:"p50"`       // of all
	P99        seconds `json:"p99"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"firstError,omitempty"`
	Calls      uint64  `json:"calls,omitempty"`     // of the webhook; more than pods if the API server asks again about its own patch
	InWebhook  seconds `json:"inWebhook,omitempty"` // mean of one call as the API server sees it
}

// drive does something n times, atOnce at a time, and measures each and all of it. When ctx ends, what is left is not
// done.
func drive(ctx context.Context, n, atOnce int, do func(context.Context) error) (load, error) {
	var mu sync.Mutex
	var l load
	took := make([]seconds, 0, n)
	var group errgroup.Group
	group.SetLimit(atOnce)
	start := time.Now()
	for range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			begun := time.Now()
			err := do(ctx)
			lasted := time.Since(begun)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, seconds(lasted))
			if err != nil {
				l.Errors++
				if l.FirstError == "" {
					l.FirstError = err.Error()
				}
			}
			return nil
		})
	}
	_ = group.Wait() // every error is counted above
	all := time.Since(start)
	if ctx.Err() != nil {
		return load{}, context.Cause(ctx)
	}
	l.PerSecond = perSecond(n-l.Errors, all)
	l.P50, l.P99 = median(took), quantile(took, 0.99)
	return l, nil
}
