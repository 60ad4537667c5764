package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeavingTakesAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals, signal := context.WithCancel(t.Context())
		l := &leaving{}
		ctx, cancel := l.context(signals)
		defer cancel()
		time.Sleep(time.Hour)
		if l.asked.Load() || ctx.Err() != nil {
			t.Fatal("it leaves without a signal")
		}
		signal()
		time.Sleep(leaveTime - time.Millisecond)
		synctest.Wait()
		if !l.asked.Load() || ctx.Err() != nil {
			t.Errorf("just before the time is over: asked %t, ended %v; want true and not", l.asked.Load(), ctx.Err())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("it goes on when the time is over")
		}
	})
}

// A caller's connection is used again and again until it is asked to leave, and then for no other request.
func TestLeavingEndsConnections(t *testing.T) {
	l := &leaving{}
	server := httptest.NewUnstartedServer(l.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.RemoteAddr)) })))
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
	l.asked.Store(true)
	if last := from(); last != first {
		t.Errorf("the request that is told to leave came from %s, want %s", last, first)
	}
	time.Sleep(100 * time.Millisecond) // for the frame that says so
	if next := from(); next == first {
		t.Error("the connection is used after it was asked to leave")
	}
}
