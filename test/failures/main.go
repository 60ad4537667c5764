// Command failures tells which tests failed and what they said last, from what several programs of tests wrote beside
// each other.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "failures LOG…",
		Short: "Tell which tests failed and what they said last",
		Long: "Reads what programs of tests wrote with -test.v, each to a file of its own, and tells which tests failed, in which file, and\n" +
			"their last lines: tests that run side by side write between each other's lines.",
		Example:      "  go run ./test/failures bin/e2e-shared.log bin/e2e-demos.log",
		Args:         cobra.MinimumNArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			for _, file := range files {
				failed, err := failuresIn(cmd.Context(), file)
				if err != nil {
					return fmt.Errorf("read %s: %w", file, err)
				}
				for _, f := range failed {
					fmt.Fprintf(cmd.OutOrStdout(), "\n== failed: %s (%s)\n%s", f.Test, filepath.Base(file), strings.Join(f.Lines, ""))
				}
			}
			return nil
		},
	}
}

// failuresIn has go's own reader of such a file find out which line is of which test.
func failuresIn(ctx context.Context, file string) ([]failure, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	c := exec.CommandContext(ctx, "go", "tool", "test2json")
	c.Stdin, c.Stderr = in, os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	failed, err := failures(out)
	return failed, errors.Join(err, c.Wait())
}

// lastLines is how many of a test are told.
const lastLines = 40

type failure struct {
	Test  string // of a subtest its whole name; "the program" where it ended without saying which test failed
	Lines []string
}

// failures reads events of test2json. A test with a failed subtest is told if it said something itself.
func failures(events io.Reader) ([]failure, error) {
	said := map[string][]string{}
	var failed []failure
	var running []string // in their order
	d := json.NewDecoder(events)
	for {
		var event struct{ Action, Test, Output string }
		if err := d.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		switch event.Action {
		case "output":
			if isFrame(event.Output) {
				continue
			}
			lines := append(said[event.Test], event.Output)
			said[event.Test] = lines[max(0, len(lines)-lastLines):]
		case "run":
			running = append(running, event.Test)
		case "fail":
			failed = append(failed, failure{Test: event.Test})
			fallthrough
		case "pass", "skip":
			running = slices.DeleteFunc(running, func(test string) bool { return test == event.Test })
		}
	}
	for _, test := range running { // a panic ended the program, or its time was up
		failed = append(failed, failure{Test: test})
	}
	tests := slices.ContainsFunc(failed, func(f failure) bool { return f.Test != "" })
	var out []failure
	for _, f := range failed {
		f.Lines = said[f.Test]
		below := slices.ContainsFunc(failed, func(g failure) bool { return strings.HasPrefix(g.Test, f.Test+"/") })
		switch {
		case f.Test == "" && tests, f.Test != "" && below && len(f.Lines) == 0:
			continue
		case f.Test == "":
			f.Test = "the program"
		}
		out = append(out, f)
	}
	return out, nil
}

// isFrame says whether a line tells where a test is, not what it found.
func isFrame(line string) bool {
	line = strings.TrimSpace(line)
	return slices.ContainsFunc([]string{"=== ", "--- "}, func(frame string) bool { return strings.HasPrefix(line, frame) })
}
