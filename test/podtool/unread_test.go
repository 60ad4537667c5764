package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestUnreadLeavesAnswersToTheServer: it counts each request once, and reads no answer.
func TestUnreadLeavesAnswersToTheServer(t *testing.T) {
	t.Parallel()
	var begun, read, asked atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/after" {
			asked.Add(1)
			return
		}
		switch n := begun.Add(1); {
		case n%10 == 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n%10 == 4:
			panic(http.ErrAbortHandler)
		default:
			if _, err := w.Write(make([]byte, 1<<20)); err == nil {
				read.Add(1)
			}
		}
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	got := runCommand(t.Context(), "unread", server.URL+"/", "--requests", "40", "--batch", "10", "--pause", "1ms",
		"--after", server.URL+"/after", "--rest", "100ms")
	var report unreadReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatalf("expected a report in JSON, got %+v: %v", got, err)
	}
	if want := (unreadReport{Answered: 32, Denied: 4, Failed: 4}); report != want || got.code != exitOK {
		t.Errorf("expected %+v, got %+v with exit code %d", want, report, got.code)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("expected four batches with a question between two, got %d questions", n)
	}
	if n := read.Load(); n > 0 {
		t.Errorf("%d answers were read", n)
	}
}
