package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestTurnsAreFair: one who waits behind a hundred of another namespace waits for no more than one of them.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 1, 100)
		held, err := turns.Take(t.Context(), "flood")
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		var wg sync.WaitGroup
		wait := func(namespace string) {
			wg.Go(func() {
				done, err := turns.Take(t.Context(), namespace)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, namespace) // there is one turn at a time
				done()
			})
			synctest.Wait()
		}
		for range 100 {
			wait("flood")
		}
		wait("honest")
		wait("other")
		held()
		wg.Wait()
		if got := fmt.Sprint(order[:4]); got != "[flood honest other flood]" {
			t.Errorf("the turns begin with %s", got)
		}
		if turns.taken != 0 || len(turns.takenBy)+len(turns.waiting)+len(turns.next) != 0 {
			t.Errorf("something is left: %+v", turns)
		}
	})
}

// TestTurnsOfOneNamespace: it never has all, and no more than so many of its requests wait.
func TestTurnsOfOneNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(2, 1, 3)
		held, err := turns.Take(t.Context(), "flood")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if done, err := turns.Take(t.Context(), "flood"); err != nil {
					t.Error(err)
				} else {
					done()
				}
			})
		}
		synctest.Wait()
		if _, err := turns.Take(t.Context(), "flood"); !errors.Is(err, errTooMany) {
			t.Errorf("expected the fifth to be told to try again, got %v", err)
		}
		done, err := turns.Take(t.Context(), "honest")
		if err != nil {
			t.Fatalf("the other turn is not another namespace's: %v", err)
		}
		done()
		done() // again
		held()
		wg.Wait()
	})
}

// TestGoneCallersTakeNoTurn: nobody works for a caller that is gone, and its turn is not lost.
func TestGoneCallersTakeNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 1, 10)
		held, err := turns.Take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var gone atomic.Bool
		go func() {
			_, err := turns.Take(ctx, "b")
			gone.Store(errors.Is(err, context.Canceled))
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !gone.Load() {
			t.Error("who is gone still waits")
		}
		if _, err := turns.Take(ctx, "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("expected nothing for who is gone, got %v", err)
		}
		held()
		done, err := turns.Take(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		done()
		if len(turns.waiting)+len(turns.next)+len(turns.takenBy) > 0 {
			t.Errorf("something is left: %+v", turns)
		}
	})
}
