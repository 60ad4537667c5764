package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/demos"
	"github.com/spire-injector/spire-injector/test/demo/play"
)

func TestWrongUsage(t *testing.T) {
	// Over from the start: a command line that were not refused would bring up a cluster.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"up"}, "unknown demo \"up\": expected one of\n\n  api    an API\n  other  another"},
		{[]string{"api", "other"}, `unexpected argument "other": expected the name of one demo`},
		{[]string{"-o", "yaml"}, `--output "yaml": expected text or json`},
		{[]string{"--pause", "-1s"}, "--pause -1s: expected 0s or more"},
		{[]string{"--pause", "long"}, `invalid argument "long"`},
		{[]string{"--donw"}, "unknown flag: --donw"},
		{[]string{"--down", "-o", "json"}, "--down has no summary"},
		{[]string{"--all", "-o", "json"}, "--all ends with a table"},
		{[]string{"--all", "--down"}, "--all takes each demo down itself"},
		{[]string{"--all", "api"}, `--all with "api"`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			demo := newCommand([]play.Demo{{Name: "api", About: "an API"}, {Name: "other", About: "another"}})
			demo.SetArgs(c.args)
			err := demo.ExecuteContext(over)
			var usage command.UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a usage error with %q", err, c.want)
			}
		})
	}
}

func TestTheFirstDemoIsThere(t *testing.T) {
	if (choice{demos: demos.All(), name: first}).demo() == nil {
		t.Errorf("no demo %q, which is played if none is named", first)
	}
}

func TestTable(t *testing.T) {
	got := table([]played{
		{&play.Summary{Demo: "api", OK: true, Seconds: 45, ClusterSeconds: 5, PlatformSeconds: 10}, 4 * time.Second},
		{&play.Summary{Demo: "another", Seconds: 1.5}, 0},
	})
	want := `
demo     result  platform  story  down  seconds
api      ok      10.0      30.0   4.0   44.0
another  failed  0.0       1.5    0.0   1.5
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
