package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sample": main})
}

// TestScripts is the specification of the command line: usage, output and exit codes. Each script
// finds an API under $API, the same over TLS at $TLS_ADDRESS, a server that never answers under
// $HANGING, and an address where nobody listens in $NOBODY.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			plain := httptest.NewServer(newTestAPI())
			env.Defer(plain.Close)
			secure := newMutualTLSServer(newTestAPI())
			env.Defer(secure.Close)
			hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			env.Defer(hanging.Close)
			gone := httptest.NewServer(nil)
			gone.Close()
			env.Setenv("API", plain.URL+"/api")
			env.Setenv("ADDRESS", plain.Listener.Addr().String())
			env.Setenv("TLS_ADDRESS", secure.Listener.Addr().String())
			env.Setenv("HANGING", hanging.URL)
			env.Setenv("NOBODY", gone.Listener.Addr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
		},
	})
}

// exits runs a program and checks its exit code: exits CODE PROGRAM [ARGUMENT...].
func exits(ts *testscript.TestScript, negated bool, arguments []string) {
	if negated || len(arguments) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(arguments[0])
	ts.Check(err)
	got := 0
	var failure *exec.ExitError
	switch err := ts.Exec(arguments[1], arguments[2:]...); {
	case errors.As(err, &failure):
		got = failure.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", arguments[1], err)
	}
	if got != want {
		ts.Fatalf("%s: expected exit code %d, got %d", strings.Join(arguments[1:], " "), want, got)
	}
}

// result is what a command line left behind.
type result struct {
	code           int
	stdout, stderr string
}

func runCommand(ctx context.Context, arguments ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, arguments, &stdout, &stderr)
	return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

// TestEveryCommandHasAnExample: help without an example leaves the reader to guess.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	root := newRootCommand()
	for _, command := range append(root.Commands(), root) {
		if command.Short == "" || command.Long == "" || !strings.Contains(command.Example, "sample") {
			t.Errorf("%s: expected a short and a long description and an example", command.CommandPath())
		}
	}
}
