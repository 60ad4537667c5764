package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/command"
)

func TestWrongUsage(t *testing.T) {
	// Over from the start: a command line that were not refused would bring up a cluster.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"up"}, `unexpected argument "up"`},
		{[]string{"-o", "yaml"}, `--output "yaml": expected text or json`},
		{[]string{"--pause", "-1s"}, "--pause -1s: expected 0s or more"},
		{[]string{"--pause", "long"}, `invalid argument "long"`},
		{[]string{"--donw"}, "unknown flag: --donw"},
		{[]string{"--down", "-o", "json"}, "--down has no summary"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			demo := newCommand()
			demo.SetArgs(c.args)
			err := demo.ExecuteContext(over)
			var usage command.UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a usage error with %q", err, c.want)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	sum := summary{Kubeconfig: "/k", Steps: []stepSummary{}}
	sum.add("calls", struct {
		Answer string `json:"answer"`
	}{"<ok>"}, 1234*time.Millisecond, nil)
	err := errors.New("call: expected ok, got 503")
	sum.add("admit", nil, time.Millisecond, err)
	sum.end(err, 2*time.Second)
	var out strings.Builder
	if err := sum.write(&out); err != nil {
		t.Fatal(err)
	}
	want := `{
  "ok": false,
  "error": "call: expected ok, got 503",
  "kubeconfig": "/k",
  "seconds": 2,
  "clusterSeconds": 0,
  "platformSeconds": 0,
  "steps": [
    {
      "name": "calls",
      "ok": true,
      "seconds": 1.23,
      "facts": {
        "answer": "<ok>"
      }
    },
    {
      "name": "admit",
      "ok": false,
      "seconds": 0
    }
  ]
}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
