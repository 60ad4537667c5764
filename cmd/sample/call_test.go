package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestCallDoesNotHideADroppedConnection is why newUnrepeatableRequest exists. The control shows
// that an ordinary GET hides the failure: without it the test would pass against a server that
// never drops anything.
func TestCallDoesNotHideADroppedConnection(t *testing.T) {
	t.Parallel()
	url := newDroppingServer(t)

	ordinary := newTransport(true)
	for range 2 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := ordinary.RoundTrip(request)
		if err != nil {
			t.Fatalf("control: expected net/http to repeat the request silently, got %v", err)
		}
		if _, err := readExcerpt(response.Body); err != nil {
			t.Fatal(err)
		}
	}

	transport := newTransport(true)
	first := call(t.Context(), transport, url, time.Second)
	if first.failed() || first.Reused || first.Body != "ok\n" {
		t.Fatalf("first call: expected ok over a new connection, got %+v", first)
	}
	second := call(t.Context(), transport, url, time.Second)
	if !errors.Is(second.Err, io.EOF) || !second.Reused {
		t.Errorf("second call: expected EOF on the reused connection, got %+v", second)
	}
	third := call(t.Context(), transport, url, time.Second)
	if third.failed() || third.Reused {
		t.Errorf("third call: expected ok over a new connection, got %+v", third)
	}
}

// TestUnrepeatableRequestOnTheWire: the guard must not turn the GET into one with a body, which
// proxies treat differently.
func TestUnrepeatableRequestOnTheWire(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Method != http.MethodGet {
			http.Error(w, "unexpected body", http.StatusBadRequest)
		}
	}))
	defer server.Close()
	if got := call(t.Context(), newTransport(true), server.URL, time.Second); got.Status != http.StatusOK {
		t.Errorf("expected a GET without body, the server says %+v", got)
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10*bodyExcerpt)
	mux := http.NewServeMux()
	mux.HandleFunc("/lines", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one\r\ntwo\n") })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) })
	mux.HandleFunc("/down", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/lines", http.StatusFound) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	for _, test := range []struct {
		path    string
		status  string
		summary string
		failed  bool
	}{
		{path: "/lines", status: "200", summary: "one"},
		{path: "/long", status: "200", summary: long[:bodyExcerpt]},
		{path: "/down", status: "503", summary: "no", failed: true},
		{path: "/moved", status: "302", summary: `<a href="/lines">Found</a>.`, failed: true},
		{path: "/cut", status: "error", summary: "unexpected EOF", failed: true},
		{path: "/hang", status: "error", summary: "no complete answer within 200ms: context deadline exceeded", failed: true},
	} {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			got := call(t.Context(), newTransport(true), server.URL+test.path, 200*time.Millisecond)
			if got.statusText() != test.status || got.summary() != test.summary || got.failed() != test.failed {
				t.Errorf("got status %s, summary %q, failed %t; want %s, %q, %t",
					got.statusText(), got.summary(), got.failed(), test.status, test.summary, test.failed)
			}
		})
	}
}

func TestCallWithoutKeepAliveOpensAConnectionPerCall(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(newTestAPI())
	var opened atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	transport := newTransport(false)
	for range 3 {
		if got := call(t.Context(), transport, server.URL+"/api", time.Second); got.failed() || got.Reused {
			t.Errorf("expected ok over a new connection, got %+v", got)
		}
	}
	if got := opened.Load(); got != 3 {
		t.Errorf("expected 3 connections, got %d", got)
	}
}
