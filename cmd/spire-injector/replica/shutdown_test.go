package replica

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestShutdownTakesAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		signals, signal := context.WithCancel(t.Context())
		s := &Shutdown{}
		ctx, cancel := s.Context(signals)
		defer cancel()
		time.Sleep(time.Hour)
		if s.requested.Load() || ctx.Err() != nil {
			t.Fatal("it shuts down without a signal")
		}
		signal()
		time.Sleep(ShutdownDelay - time.Millisecond)
		synctest.Wait()
		if !s.requested.Load() || ctx.Err() != nil {
			t.Errorf("just before the time is over: requested %t, ended %v; want true and not", s.requested.Load(), ctx.Err())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("it goes on when the time is over")
		}
	})
}

// Who cancels before any signal does not wait.
func TestShutdownCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		signals, signal := context.WithCancel(t.Context())
		defer signal()
		s := &Shutdown{}
		ctx, cancel := s.Context(signals)
		cancel()
		synctest.Wait()
		if ctx.Err() == nil || s.requested.Load() {
			t.Errorf("ended %v, requested %t; want ended at once and nothing requested", ctx.Err(), s.requested.Load())
		}
	})
}

// A caller's connection is used again and again until the shutdown, and then for no other request.
func TestShutdownEndsConnections(t *testing.T) {
	t.Parallel()
	s := &Shutdown{}
	server := httptest.NewUnstartedServer(
		s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.RemoteAddr)) })))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	from := func() string {
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if response.ProtoMajor != 2 {
			t.Fatalf("expected HTTP/2, as the API server speaks it, got %s", response.Proto)
		}
		body := make([]byte, 64)
		n, _ := response.Body.Read(body)
		return string(body[:n])
	}
	first := from()
	if second := from(); second != first {
		t.Fatalf("two requests from %s and %s, want one connection", first, second)
	}
	s.requested.Store(true)
	if last := from(); last != first {
		t.Errorf("the request that is asked to go elsewhere came from %s, want %s", last, first)
	}
	// The frame that says so comes after the answer, and a few requests may still be faster than it.
	for deadline := time.Now().Add(10 * time.Second); from() == first; {
		if time.Now().After(deadline) {
			t.Fatal("the connection is used although it was asked to go elsewhere")
		}
	}
}
