package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"testing"
	"time"
)

// loadReport is what `podtool load` prints, as far as tests ask for it.
type loadReport struct {
	Total         int               `json:"total"`
	Failed        int               `json:"failed"`
	Slow          int               `json:"slow"`
	FirstFailures []json.RawMessage `json:"firstFailures"`

	ByURL map[string]urlCounts `json:"byURL"`
}

// urlCounts are the numbers of one URL.
type urlCounts struct {
	Total        int            `json:"total"`
	Failed       int            `json:"failed"`
	Connections  int            `json:"connections"`
	ByPod        map[string]int `json:"byPod"`
	LastAnswered time.Time      `json:"lastAnswered"` // when the last request began that did not fail
}

// load sends constant traffic from a workload's app container, once it gets answers, and returns the report.
func load(t *testing.T, namespace, workload string, flags ...string) loadReport {
	t.Helper()
	awaitOK(t, namespace, workload)
	out, err := in(t, namespace, workload, append([]string{"/podtool", "load", url, "-o", "json"}, flags...)...)
	return decodeReport(t, out, err)
}

func decodeReport(t *testing.T, out string, err error) loadReport {
	t.Helper()
	var report loadReport
	if decodeErr := json.Unmarshal([]byte(out), &report); decodeErr != nil {
		t.Fatalf("the load did not report: %v (%v)", decodeErr, err)
	}
	return report
}

// enough requests that say anything, of the 80 a second that an idle machine makes.
const enough = 300

func (r loadReport) wantNoFailure(t *testing.T) {
	t.Helper()
	t.Logf("%d requests, %d of them slow, %d failed", r.Total, r.Slow, r.Failed)
	if r.Failed > 0 || r.Total < enough {
		t.Errorf("expected at least %d requests and no failure, got %d and %d: %s", enough, r.Total, r.Failed, r.FirstFailures)
	}
}

// runningLoad is constant traffic that goes on until it is asked how it went.
type runningLoad struct {
	command *exec.Cmd
	stdin   io.Closer
	stdout  *bytes.Buffer
	ended   chan error
}

// startLoad sends constant traffic from a workload's app container, which gets answers already: to the API, or to URLs
// of which it is one.
func startLoad(t *testing.T, namespace, workload string, urls ...string) runningLoad {
	t.Helper()
	awaitOK(t, namespace, workload)
	// Beyond the end of the test, which ends it in any case.
	ctx, cancel := context.WithCancel(context.Background())
	l := runningLoad{stdout: &bytes.Buffer{}, ended: make(chan error, 1)}
	args := []string{
		"--namespace", namespace, "exec", "-i", workload, "--container", "app", "--",
		"/podtool", "load", "-o", "json", "--until-eof", "--duration", "10m",
	}
	if len(urls) == 0 {
		args = append(args, "--workers", "4", "--interval", "50ms", url)
	} else {
		args = append(append(args, "--workers", "1", "--interval", "50ms"), urls...)
	}
	l.command = shared.k.Command(ctx, args...)
	l.command.Stdout = l.stdout
	stdin, err := l.command.StdinPipe()
	must(t, err)
	l.stdin = stdin
	must(t, l.command.Start())
	exited := make(chan struct{})
	go func() {
		l.ended <- l.command.Wait()
		close(exited)
	}()
	t.Cleanup(func() { cancel(); <-exited })
	return l
}

// report ends the traffic, which must not have ended before.
func (l runningLoad) report(t *testing.T) loadReport {
	t.Helper()
	if len(l.ended) > 0 {
		t.Error("the traffic ended before the test did")
	}
	must(t, l.stdin.Close())
	err := <-l.ended
	return decodeReport(t, l.stdout.String(), err)
}
