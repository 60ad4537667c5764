package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/command"
)

func TestWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"--pods 0 --rounds -1":    "--pods: expected 1 or more, got 0\n--rounds: expected 1 or more, got -1",
		"--bursts 1000,0":         "--bursts: expected 1 or more, got 0",
		"scale --nodes 0":         "--nodes: expected 1 or more, got 0",
		"-o yaml":                 `--output: expected text or json, got "yaml"`,
		"creations --idle -1s":    "--idle: expected no negative time, got -1s",
		"hostile --pace -0.5":     "--pace: expected 0 or more, got -0.5",
		"proxy --instructions -1": "--instructions: expected 0 or more, got -1",
		"starts --interval -1s":   "--interval: expected no negative time, got -1s",
		"creation":                `unexpected argument "creation"`,
		"--colour":                "unknown flag: --colour",
	} {
		c := newCommand()
		c.SetArgs(strings.Fields(line))
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		err := c.ExecuteContext(t.Context())
		var usage command.UsageError
		if !errors.As(err, &usage) || err.Error() != want {
			t.Errorf("%s: got error %v, want %q", line, err, want)
		}
	}
}
