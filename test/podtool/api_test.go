package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// newTestAPI is the API's handler, by the name of "here".
func newTestAPI() http.Handler {
	return newAPIHandler("here", newHealth(""), slog.New(slog.DiscardHandler))
}

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
			newTestAPI().ServeHTTP(recorder, httptest.NewRequest(test.method, test.target, nil))
			if recorder.Code != test.status || recorder.Body.String() != test.body {
				t.Errorf("got %d %q, want %d %q", recorder.Code, recorder.Body.String(), test.status, test.body)
			}
			if took := time.Since(began); took < test.atLeast {
				t.Errorf("answered after %s, want %s or more", took, test.atLeast)
			}
		})
	}
}

func TestAPILogsWhatArrived(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	recorder := httptest.NewRecorder()
	newAPIHandler("here", newHealth(""), newEventLog(&log)).ServeHTTP(recorder, httptest.NewRequest("GET", "/log/a?b=c", nil))
	if recorder.Code != 200 || !strings.Contains(log.String(), `"msg":"asked","uri":"/log/a?b=c","host":"example.com"`) {
		t.Errorf("got %d and the log %s", recorder.Code, &log)
	}
}

func TestEchoTellsWhatArrived(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequest("GET", "/echo/a?b=c", nil)
	request.Header.Set("X-Forged", "yes")
	recorder := httptest.NewRecorder()
	newTestAPI().ServeHTTP(recorder, request)
	var got arrived
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := arrived{
		Pod: "here", Method: "GET", URI: "/echo/a?b=c", Protocol: "HTTP/1.1", Host: "example.com", Headers: http.Header{"X-Forged": {"yes"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if pod := recorder.Header().Get("X-Pod"); pod != "here" {
		t.Errorf("expected X-Pod: here, got %q", pod)
	}
}

// logLine is a line of the API's log as the end-to-end tests read it.
type logLine struct {
	Time     time.Time `json:"time"`
	Message  string    `json:"msg"`
	Protocol string    `json:"protocol"`
	Address  string    `json:"address"`
}

// runningAPI is `podtool api` with its ports chosen by the system.
type runningAPI struct {
	starting  logLine
	listening map[string]logLine // by protocol
	asked     chan struct{}      // a value for each request to /log/ that is being served
	// stop does what SIGTERM does and returns the exit code.
	stop func() int
}

// startAPI runs `podtool api` with all four protocols.
func startAPI(t *testing.T, flags ...string) runningAPI {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan int, 1)
	go func() {
		const free = "127.0.0.1:0"
		arguments := []string{"api", "--name", "here", "--listen", free, "--https", free, "--grpc", free, "--tcp", free}
		done <- run(ctx, append(arguments, flags...), writer, io.Discard)
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
	api := runningAPI{starting: read(), listening: map[string]logLine{}, asked: make(chan struct{}, 1), stop: sync.OnceValue(func() int { cancel(); return <-done })}
	for range 4 {
		line := read()
		api.listening[line.Protocol] = line
	}
	go func() {
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"msg":"asked"`) {
				api.asked <- struct{}{}
			}
		}
	}()
	t.Cleanup(func() { api.stop() })
	return api
}

func (a runningAPI) at(protocol string) string { return a.listening[protocol].Address }

func TestAPILogsItsStartFirst(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Millisecond)
	api := startAPI(t, "--start-delay", "200ms")
	listening := api.listening["http"].Time
	if api.starting.Message != "starting" || api.starting.Time.Before(before) || listening.Sub(api.starting.Time) < 200*time.Millisecond {
		t.Errorf("expected the start after %s, and the ports 200ms later, got %+v", before, api)
	}
	if code := api.stop(); code != exitOK {
		t.Errorf("expected exit code 0 after SIGTERM, got %d", code)
	}
}

// TestAPIStops: a request that is under way is finished or breaks, as asked.
func TestAPIStops(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode   string
		failed bool
	}{{"gracefully", false}, {"at-once", true}} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			api := startAPI(t, "--stop", test.mode)
			httpAnswer, stream := startRequest(t, api), startStream(t, api)
			if code := api.stop(); code != exitOK {
				t.Errorf("expected exit code 0, got %d", code)
			}
			if got := <-httpAnswer; got.failed() != test.failed {
				t.Errorf("expected the open request's failure to be %t, got %+v", test.failed, got)
			}
			if err := drain(stream); (err != nil) != test.failed {
				t.Errorf("expected the open stream's failure to be %t, got %v", test.failed, err)
			}
		})
	}
}

// startRequest returns when a request over HTTP is being served; its answer comes later.
func startRequest(t *testing.T, api runningAPI) <-chan answer {
	t.Helper()
	answered := make(chan answer, 1)
	c := newHTTPCaller("http://"+api.at("http")+"/log/?delay=500ms", true)
	go func() { answered <- c.call(t.Context(), 5*time.Second) }()
	select {
	case <-api.asked: // what the server has not read yet, its end would refuse
	case got := <-answered:
		t.Fatalf("expected an answer after 500ms, got %+v", got)
	}
	return answered
}

// startStream returns a stream over gRPC whose first message has come.
func startStream(t *testing.T, api runningAPI) grpc.ClientStream {
	t.Helper()
	c := newGRPCCaller(api.at("grpc"), true, true)
	t.Cleanup(c.close)
	connection, err := c.connect()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := openCount(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
		t.Fatal(err)
	}
	return stream
}

// drain reads a stream to its end, and returns why it broke if it did.
func drain(stream grpc.ClientStream) error {
	for {
		if err := stream.RecvMsg(new(wrapperspb.StringValue)); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestTCPGoodbye: who is told goodbye loses nothing, neither during an exchange nor between two.
func TestTCPGoodbye(t *testing.T) {
	t.Parallel()
	api := startAPI(t)
	c := newTCPCaller(api.at("tcp"), true)
	defer c.close()
	if first := c.call(t.Context(), time.Second); first.failed() || first.Pod != "here" || first.Reused {
		t.Fatalf("expected an answer on a new connection, got %+v", first)
	}
	stopped := make(chan int, 1)
	go func() { stopped <- api.stop() }()
	for !c.kept.over() {
		time.Sleep(time.Millisecond)
	}
	if line, err := c.kept.exchange(t.Context(), greeting); err != nil || line != "here hello" {
		t.Errorf("expected an answer after the goodbye, got %q (%v)", line, err)
	}
	if after := c.call(t.Context(), time.Second); !after.failed() || after.Reused {
		t.Errorf("expected a new connection, which nobody takes, got %+v", after)
	}
	if code := <-stopped; code != exitOK {
		t.Errorf("expected exit code 0, got %d", code)
	}
}
