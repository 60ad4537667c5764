package replica

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

var errNo = errors.New("no")

func request(t *testing.T) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
}

// What was true once is not asked again.
func TestAtStart(t *testing.T) {
	t.Parallel()
	answers := []error{errNo, errNo, nil, errNo}
	asked := 0
	check := atStart(func(*http.Request) error {
		asked++
		return answers[asked-1]
	})
	for i, want := range []error{errNo, errNo, nil, nil, nil} {
		if got := check(request(t)); !errors.Is(got, want) {
			t.Errorf("answer %d: got %v, want %v", i, got, want)
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
}

func TestPatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		check := patient(identityPatience, func(*http.Request) error { return errNo })
		time.Sleep(identityPatience)
		if err := check(request(t)); !errors.Is(err, errNo) {
			t.Errorf("within the time: got %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := check(request(t)); err != nil {
			t.Errorf("after the time: got %v", err)
		}
	})
}

func TestCacheSynced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if err := cacheSynced(func(context.Context) bool { return true })(request(t)); err != nil {
			t.Error(err)
		}
		start := time.Now()
		if err := cacheSynced(func(ctx context.Context) bool { <-ctx.Done(); return false })(request(t)); err == nil ||
			time.Since(start) != time.Second {
			t.Errorf("a cache that does not fill: got %v after %s, want an error after a second", err, time.Since(start))
		}
	})
}
