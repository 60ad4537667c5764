package migrate

import (
	"errors"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// TestTally sees that no failure is lost, and that nothing else is counted.
func TestTally(t *testing.T) {
	from := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		lines []string
		want  Calls
	}{
		{"answered", []string{"2026-11-22T15:00:01.000Z 200 ok", "2026-11-22T16:00:01.050+01:00 200 ok"}, Calls{Made: 2}},
		{"not there yet", []string{"2026-11-22T14:59:59.999Z error connection refused"}, Calls{}},
		{"another line", []string{"", "unable to retrieve container logs"}, Calls{}},
		{
			"failures", []string{
				"2026-11-22T15:00:01.000Z 200 ok", "2026-11-22T15:00:02.000Z error no complete answer", "2026-11-22T15:00:03.000Z 503 upstream connect error",
				"2026-11-22T15:00:04.000Z 200 of somebody else",
			},
			Calls{Made: 4, Failed: 3, First: "batch to api: 2026-11-22T15:00:02.000Z error no complete answer"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := newTally(from)
			for _, line := range c.lines {
				tally.add(stream{Batch, API}, line)
			}
			since, all, err := tally.take()
			if since != c.want || all != c.want {
				t.Errorf("got %+v, and of all %+v, want %+v", since, all, c.want)
			}
			var mismatch *scene.Mismatch
			if failed := errors.As(err, &mismatch); failed != (c.want.Failed > 0) {
				t.Errorf("got error %v with %d failures", err, c.want.Failed)
			}
			if since, all, err = tally.take(); since != (Calls{}) || all != c.want || err != nil {
				t.Errorf("taken again: got %+v, and of all %+v (%v), want none and %+v", since, all, err, c.want)
			}
		})
	}
}

// TestLeast sees that a stream that has stopped is not hidden by the others.
func TestLeast(t *testing.T) {
	tally := newTally(time.Time{})
	for _, s := range streams() {
		tally.add(s, "2026-11-22T15:00:01.000Z 200 ok")
	}
	before := tally.snapshot()
	tally.add(stream{Batch, API}, "2026-11-22T15:00:02.000Z 200 ok")
	tally.add(stream{Web, API}, "2026-11-22T15:00:02.000Z 200 ok")
	if n, which := tally.least(before); n != 0 || which != (stream{Batch, Web}) {
		t.Errorf("got %d calls of %s, want none of batch to web", n, which)
	}
}
