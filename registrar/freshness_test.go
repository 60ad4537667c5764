package registrar_test

import (
	"errors"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/registrar"
)

func TestFreshness(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	failed := errors.New("no answer")
	f := registrar.Freshness{Interval: 10 * time.Minute, Fetched: begin}
	if f.Stale(begin.Add(30 * time.Minute)) {
		t.Error("stale after three intervals, want only later")
	}
	if !f.Stale(begin.Add(30*time.Minute + 1)) {
		t.Error("not stale after more than three intervals")
	}

	now := begin
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		now = now.Add(time.Minute)
		f = f.After(now, failed)
		if got := f.Next(0.5).Sub(now); got != want*time.Second {
			t.Errorf("failure %d: again after %s, want %s", i+1, got, want*time.Second)
		}
	}
	if f.Fetched != begin {
		t.Errorf("fetched at %s, want failures not to count", f.Fetched)
	}
	for range 100 {
		f = f.After(now, failed)
	}
	if got := f.Next(0.5).Sub(now); got != time.Minute {
		t.Errorf("after many failures again after %s, want 1m", got)
	}

	f = f.After(now, nil)
	if f.Fetched != now || f.Failures != 0 {
		t.Errorf("%+v, want fetched and no failure", f)
	}
	for spread, want := range map[float64]time.Duration{0: 9 * time.Minute, 0.5: 10 * time.Minute, 1: 11 * time.Minute} {
		if got := f.Next(spread).Sub(now); got != want {
			t.Errorf("spread %v: again after %s, want %s", spread, got, want)
		}
	}
	short := registrar.Freshness{Interval: 10 * time.Second, Tried: now, Failures: 50}
	if got := short.Next(0.5).Sub(now); got != 10*time.Second {
		t.Errorf("after failures again after %s, want no later than the interval", got)
	}
}
