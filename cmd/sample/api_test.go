package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"testing"
	"time"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func TestAPIAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, target string
		status         int
		body           string
		atLeast        time.Duration
	}{
		{method: "GET", target: "/api", status: 200, body: "ok\n"},
		{method: "GET", target: "/api?delay=50ms", status: 200, body: "ok\n", atLeast: 50 * time.Millisecond},
		{method: "GET", target: "/api?delay=61s", status: 400, body: "delay: expected a duration between 0s and 1m0s, got \"61s\"\n"},
		{method: "GET", target: "/api?delay=-1s", status: 400, body: "delay: expected a duration between 0s and 1m0s, got \"-1s\"\n"},
		{method: "GET", target: "/api?delay=soon", status: 400, body: "delay: expected a duration between 0s and 1m0s, got \"soon\"\n"},
		{method: "POST", target: "/api", status: 405, body: "Method Not Allowed\n"},
		{method: "GET", target: "/", status: 404, body: "404 page not found\n"},
	} {
		t.Run(test.method+test.target, func(t *testing.T) {
			t.Parallel()
			recorder := httptest.NewRecorder()
			began := time.Now()
			newAPIHandler().ServeHTTP(recorder, httptest.NewRequest(test.method, test.target, nil))
			if recorder.Code != test.status || recorder.Body.String() != test.body {
				t.Errorf("got %d %q, want %d %q", recorder.Code, recorder.Body.String(), test.status, test.body)
			}
			if took := time.Since(began); took < test.atLeast {
				t.Errorf("answered after %s, want %s or more", took, test.atLeast)
			}
		})
	}
}

// logLine is a line of the API's log as the end-to-end tests read it.
type logLine struct {
	Time    time.Time `json:"time"`
	Message string    `json:"msg"`
	Address string    `json:"address"`
}

// startAPI runs `sample api` and returns its first two log lines, and a function that stops it the
// way SIGTERM does and returns the exit code.
func startAPI(t *testing.T) (starting, listening logLine, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"api", "--listen", "127.0.0.1:0"}, writer, io.Discard)
		_ = writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	read := func() (line logLine) {
		if !lines.Scan() {
			t.Fatalf("the log ended early: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("log line %q: %v", lines.Text(), err)
		}
		return line
	}
	starting, listening = read(), read()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	return starting, listening, func() int { cancel(); return <-done }
}

func TestAPILogsItsStartFirst(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Millisecond)
	starting, listening, stop := startAPI(t)
	if starting.Message != "starting" || starting.Time.Before(before) || starting.Time.After(listening.Time) {
		t.Errorf("expected the start between %s and %s first, got %+v", before, listening.Time, starting)
	}
	if code := stop(); code != exitOK {
		t.Errorf("expected exit code 0 after SIGTERM, got %d", code)
	}
}

func TestAPIFinishesOpenRequestsWhenStopped(t *testing.T) {
	t.Parallel()
	_, listening, stop := startAPI(t)
	url := "http://" + listening.Address + "/api?delay=300ms"
	answered := make(chan answer, 1)
	go func() { answered <- call(t.Context(), newTransport(true), url, 5*time.Second) }()
	time.Sleep(100 * time.Millisecond) // the request is under way
	if code := stop(); code != exitOK {
		t.Errorf("expected exit code 0, got %d", code)
	}
	if got := <-answered; got.failed() {
		t.Errorf("expected the open request to be answered, got %+v", got)
	}
}
