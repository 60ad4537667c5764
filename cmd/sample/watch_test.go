package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// closing is added to a status after which the server closes the connection.
const closing = 1000

// statuses answers with one status after the other, the last one for ever. Instead of an answer with
// a negative status it closes the connection.
func statuses(sequence ...int) http.Handler {
	var calls atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := sequence[min(int(calls.Add(1)), len(sequence))-1]
		if status < 0 {
			panic(http.ErrAbortHandler)
		}
		if status > closing {
			status -= closing
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, http.StatusText(status)+"\n")
	})
}

// changes are the lines of a watch without their times.
func changes(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		lines = append(lines, rest)
	}
	return lines
}

func TestWatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		sequence  []int
		arguments []string
		code      int
		lines     []string
		stderr    string
	}{
		{
			name:      "a refusal on the open connection",
			sequence:  []int{200, 200, 200, 403},
			arguments: []string{"--until-status", "403"},
			lines:     []string{"200 new OK", "403 reused Forbidden"},
		},
		{
			name:      "the count has to come in a row",
			sequence:  []int{403, 200, 403, 200, 403, 200, 200},
			arguments: []string{"--until-status", "200", "--count", "2"},
			lines: []string{
				"403 new Forbidden", "200 reused OK", "403 reused Forbidden", "200 reused OK", "403 reused Forbidden", "200 reused OK",
			},
		},
		{
			name:      "a connection closed after an answer is a line of its own",
			sequence:  []int{200, 200 + closing, 200, 200},
			arguments: []string{"--until-status", "200", "--count", "4"},
			lines:     []string{"200 new OK", "200 new OK"},
		},
		{
			name:      "a connection closed instead of an answer",
			sequence:  []int{200, -1, 200, 200},
			arguments: []string{"--until-status", "200", "--count", "2"},
			lines:     []string{"200 new OK", "error reused EOF", "200 new OK"},
		},
		{
			name:      "an error is a status",
			sequence:  []int{200, -1},
			arguments: []string{"--until-status", "error"},
			lines:     []string{"200 new OK", "error reused EOF"},
		},
		{
			name:      "never",
			sequence:  []int{200, 503},
			arguments: []string{"--until-status", "403", "--timeout", "200ms"},
			code:      exitFailed,
			lines:     []string{"200 new OK", "503 reused Service Unavailable"},
			stderr:    "expected status 403 1 times in a row within 200ms; the last of ",
		},
		{
			name:      "without a wanted status",
			sequence:  []int{200},
			arguments: []string{"--timeout", "100ms"},
			lines:     []string{"200 new OK"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(statuses(test.sequence...))
			defer server.Close()
			got := runCommand(t.Context(), append([]string{"watch", server.URL, "--interval", "2ms"}, test.arguments...)...)
			if got.code != test.code || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("expected exit code %d and %q on stderr, got %+v", test.code, test.stderr, got)
			}
			if diff := cmp.Diff(test.lines, changes(got.stdout)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatchJSON(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(statuses(403))
	defer server.Close()
	got := runCommand(t.Context(), "watch", server.URL, "--until-status", "403", "-o", "json")
	var line map[string]string
	if err := json.Unmarshal([]byte(got.stdout), &line); err != nil {
		t.Fatalf("%q: %v", got.stdout, err)
	}
	if line["time"] == "" {
		t.Error("expected a time")
	}
	delete(line, "time")
	want := map[string]string{"status": "403", "statusText": "Forbidden", "connection": "new", "body": "Forbidden"}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}
