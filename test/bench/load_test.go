package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDriveKeepsSoManyGoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var going, most, calls atomic.Int32
		got, err := drive(t.Context(), 100, 10, func(context.Context) error {
			if n := going.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			going.Add(-1)
			if calls.Add(1) <= 20 {
				return errors.New("no")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if most.Load() != 10 || calls.Load() != 100 {
			t.Errorf("%d calls, at most %d at once; want 100 and 10", calls.Load(), most.Load())
		}
		// 100 calls of 1 s by 10: 10 s, and 80 of them succeed.
		want := load{PerSecond: 8, P50: seconds(time.Second), P99: seconds(time.Second), Errors: 20, FirstError: "no"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("load (-want +got):\n%s", diff)
		}
	})
}

func TestDriveEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	calls := 0
	_, err := drive(ctx, 1000, 1, func(context.Context) error {
		if calls++; calls == 3 {
			cancel(reason)
		}
		return nil
	})
	if !errors.Is(err, reason) {
		t.Errorf("got error %v, want %v", err, reason)
	}
	if calls > 4 {
		t.Errorf("%d calls after the context had ended", calls-3)
	}
}
