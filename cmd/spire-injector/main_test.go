package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"spire-injector": main})
}

// TestScripts is the specification of the command line: usage, output and exit codes. Each script finds a valid
// platform file, config.yaml, in its directory.
func TestScripts(t *testing.T) {
	t.Parallel()
	platform, err := os.ReadFile("testdata/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: func(env *testscript.Env) error { return os.WriteFile(env.WorkDir+"/config.yaml", platform, 0o600) },
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
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

// TestEveryCommandHasAnExample: help without an example leaves the reader to guess.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	root := newCommand()
	for _, command := range append(root.Commands(), root) {
		if command.Short == "" || command.Long == "" || !strings.Contains(command.Example, command.CommandPath()) {
			t.Errorf("%s: expected a short and a long description and an example", command.CommandPath())
		}
	}
}
