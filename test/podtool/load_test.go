package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func runLoad(t *testing.T, ctx context.Context, arguments ...string) (loadReport, result) {
	t.Helper()
	got := runCommand(ctx, append([]string{"load", "-o", "json"}, arguments...)...)
	var report loadReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatalf("expected a JSON report, got %q, stderr %q: %v", got.stdout, got.stderr, err)
	}
	return report, got
}

// TestLoadCountsEveryRequestOnce compares the report with what the server saw.
func TestLoadCountsEveryRequestOnce(t *testing.T) {
	t.Parallel()
	var seen, refused, slow atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/api", func(w http.ResponseWriter, _ *http.Request) {
		if seen.Add(1)%10 == 3 {
			refused.Add(1)
			http.Error(w, "RBAC: access denied", http.StatusForbidden)
		}
	})
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) {
		slow.Add(1)
		time.Sleep(300 * time.Millisecond)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	report, got := runLoad(t, t.Context(), server.URL+"/api", "--duration", "500ms", "--interval", "5ms", "--workers", "3",
		"--slow-every", "20", "--slow-url", server.URL+"/slow")

	want := map[string]int{"200": int(seen.Load() - refused.Load() + slow.Load()), "403": int(refused.Load())}
	if diff := cmp.Diff(want, report.ByStatus); diff != "" {
		t.Errorf("byStatus differs from what the server saw (-want +got):\n%s", diff)
	}
	if total := int(seen.Load() + slow.Load()); report.Total != total || report.Slow != int(slow.Load()) || report.Failed != int(refused.Load()) {
		t.Errorf("the server saw %d requests, %d slow, %d refused; the report says %+v", total, slow.Load(), refused.Load(), report)
	}
	if slow.Load() == 0 || report.SlowLatency == nil || report.SlowLatency.P50 < 300 || report.Latency.P50 >= 300 {
		t.Errorf("expected slow requests to be reported apart, got %+v and %+v", report.Latency, report.SlowLatency)
	}
	if got.code != exitFailed {
		t.Errorf("expected exit code 1 after a failure, got %d", got.code)
	}
	if first := report.FirstFailures[0]; first.Status != 403 || first.Body != "RBAC: access denied\n" || first.URL != server.URL+"/api" {
		t.Errorf("unexpected first failure %+v", first)
	}
}

// TestLoadSeesDroppedConnections: half of the requests meet a connection that breaks, and none of
// them may be repeated out of sight.
func TestLoadSeesDroppedConnections(t *testing.T) {
	t.Parallel()
	report, got := runLoad(t, t.Context(), newDroppingServer(t), "--duration", "300ms", "--interval", "5ms", "--workers", "1")
	if ok, broken := report.ByStatus["200"], report.ByStatus["error"]; broken == 0 || ok-broken < 0 || ok-broken > 1 {
		t.Errorf("expected every second request to fail, got %v", report.ByStatus)
	}
	if got.code != exitFailed {
		t.Errorf("expected exit code 1, got %d", got.code)
	}
	fresh, got := runLoad(t, t.Context(), "--fresh", newDroppingServer(t), "--duration", "300ms", "--interval", "5ms", "--workers", "1")
	if fresh.Failed != 0 || fresh.Connections != fresh.Total || got.code != exitOK {
		t.Errorf("expected a new connection per request and no failure, got %+v", fresh)
	}
}

func TestLoadWaitsForWhatIsUnderWayWhenStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(w, "ok\n")
	}))
	defer server.Close()
	report, got := runLoad(t, ctx, server.URL, "--duration", "1m", "--workers", "1")
	if report.Total != 1 || report.Failed != 0 || got.code != exitOK {
		t.Errorf("expected the one request that was under way to succeed, got %+v", report)
	}
}

func TestLoadEndsWithItsInput(t *testing.T) {
	t.Parallel()
	in, input := io.Pipe()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = input.Close()
		_, _ = io.WriteString(w, "ok\n")
	}))
	defer server.Close()
	target, err := parseTargets([]string{server.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	options := loadOptions{targets: target, duration: time.Hour, workers: 1, interval: time.Millisecond, timeout: time.Second, progress: time.Hour}
	report := generateLoad(untilEnd(ctx, in), options, io.Discard)
	if ctx.Err() != nil || report.Total == 0 || report.Failed > 0 {
		t.Errorf("expected an end after the first requests, got %v and %+v", ctx.Err(), report)
	}
}

func TestNewLoadReport(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(second, latency int, status int, err error) loadResult {
		return loadResult{URL: "http://u", answer: answer{
			Started: start.Add(time.Duration(second) * time.Second),
			Latency: time.Duration(latency) * time.Millisecond,
			Status:  status, Err: err, Reused: true, Pod: fmt.Sprint("pod-", second%2),
		}}
	}
	broken := errors.New("EOF")
	got := newLoadReport([]loadResult{ // in the order in which they ended
		at(1, 2, 200, nil), at(0, 1, 503, nil), at(2, 3, 0, broken), at(3, 4000, 200, broken), at(5, 5, 200, nil), at(4, 2500, 204, nil),
	})
	want := loadReport{
		From:     start,
		To:       start.Add(7 * time.Second),
		Total:    6,
		Failed:   3,
		ByStatus: map[string]int{"200": 2, "204": 1, "503": 1, "error": 2},
		ByPod:    map[string]int{"pod-0": 3, "pod-1": 3},
		ByURL: map[string]*urlCounts{"http://u": {
			Total: 6, Failed: 3, ByPod: map[string]int{"pod-0": 3, "pod-1": 3}, LastAnswered: start.Add(5 * time.Second),
		}},
		Latency: latencies{P50: 3, P99: 4000, Max: 4000},
		FirstFailures: []loadFailure{
			{Time: start, URL: "http://u", Status: 503, LatencyMS: 1},
			{Time: start.Add(2 * time.Second), URL: "http://u", Error: "EOF", LatencyMS: 3},
			{Time: start.Add(3 * time.Second), URL: "http://u", Status: 200, Error: "EOF", LatencyMS: 4000},
		},
		LongestFailureRun: &failureRun{Requests: 2, From: start.Add(2 * time.Second), To: start.Add(7 * time.Second)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	empty := loadReport{ByStatus: map[string]int{}, ByPod: map[string]int{}, ByURL: map[string]*urlCounts{}, FirstFailures: []loadFailure{}}
	if diff := cmp.Diff(empty, newLoadReport(nil)); diff != "" {
		t.Errorf("empty report (-want +got):\n%s", diff)
	}
}

// TestLoadSpeaksEveryProtocol: all at once, kept and fresh, and each request answered by the one server.
func TestLoadSpeaksEveryProtocol(t *testing.T) {
	t.Parallel()
	api := startAPI(t)
	http, grpc, tcp := "http://"+api.at("http")+"/api", "grpc://"+api.at("grpc"), "tcp://"+api.at("tcp")
	stream := grpc + "/count"
	report, got := runLoad(t, t.Context(), http, grpc, stream, tcp, "--fresh", tcp, "--fresh", grpc, "--duration", "1s", "--workers", "2")
	if got.code != exitOK || report.Failed != 0 || report.ByPod["here"] != report.Total {
		t.Errorf("expected no failure, all answered by here, got %+v", report)
	}
	for url, fresh := range map[string]bool{
		http: false, grpc: false, stream: false, tcp: false, tcp + " (fresh)": true, grpc + " (fresh)": true,
	} {
		counts := report.ByURL[url]
		if counts == nil || counts.Total < 4 || counts.ByPod["here"] != counts.Total {
			t.Errorf("%s: expected some requests, all answered by here, got %+v", url, counts)
			continue
		}
		connections := 2 // one for each worker
		if fresh {
			connections = counts.Total
		}
		if counts.Connections != connections {
			t.Errorf("%s: expected %d connections for %d requests, got %d", url, connections, counts.Total, counts.Connections)
		}
	}
}

// TestLoadSeesWhatBreaks: a server that ends at once breaks streams, and nobody listens afterwards.
func TestLoadSeesWhatBreaks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, path, want string }{
		{"grpc", "/count", "after [1-4] of 5 messages: .*Unavailable"},
		{"grpc", "", "Unavailable"},
		{"tcp", "", "connection refused"},
	} {
		t.Run(test.kind+test.path, func(t *testing.T) {
			t.Parallel()
			api := startAPI(t, "--stop", "at-once")
			url := test.kind + "://" + api.at(test.kind) + test.path
			go func() {
				time.Sleep(300 * time.Millisecond)
				api.stop()
			}()
			report, got := runLoad(t, t.Context(), url, "--duration", "1s", "--workers", "1", "--interval", "50ms")
			if got.code != exitFailed || report.Failed == 0 || report.ByStatus["error"] != report.Failed ||
				!slices.ContainsFunc(report.FirstFailures, func(f loadFailure) bool { return regexp.MustCompile(test.want).MatchString(f.Error) }) {
				t.Errorf("%s: expected failures such as %q, got %+v", url, test.want, report)
			}
		})
	}
}
