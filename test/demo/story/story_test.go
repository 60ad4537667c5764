package story

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStory(t *testing.T) {
	var out strings.Builder
	s := New(&out, Options{Steps: 2})
	s.Heading("First")
	s.Say("It has %d steps.", 2)
	s.Typed("ls", "kill %1")
	s.Came("a\nb")
	s.Came("")
	s.Heading("Second")
	s.Fields(Field{"id", "x"}, Field{"reason", "y"})
	s.Checked("100%% of %s", "it")
	want := `
── 1/2  First ` + strings.Repeat("─", 86) + `

It has 2 steps.

  $ ls
  $ kill %1
    a
    b
    

── 2/2  Second ` + strings.Repeat("─", 85) + `
    id      x
    reason  y
    ✓ 100% of it
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestColourChangesNoText(t *testing.T) {
	var out strings.Builder
	s := New(&out, Options{Colour: true, Steps: 1})
	s.Typed("ls")
	if want := "\n  $ \x1b[36mls\x1b[0m\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestColour(t *testing.T) {
	for _, c := range []struct {
		name     string
		terminal bool
		env      map[string]string
		want     bool
	}{
		{"a terminal", true, nil, true},
		{"a file", false, nil, false},
		{"NO_COLOR", true, map[string]string{"NO_COLOR": "1"}, false},
		{"NO_COLOR set to nothing counts as not set", true, map[string]string{"NO_COLOR": ""}, true},
		{"a terminal that cannot", true, map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Colour(c.terminal, func(key string) string { return c.env[key] }); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"fits exactly", "123 567890", "123 567890"},
		{"one column too long", "123 5678901", "123\n5678901"},
		{"a word longer than the line stays whole", "a 12345678901 b", "a\n12345678901\nb"},
		{"counts characters, not bytes", "ÄÖÜ äöüßéè", "ÄÖÜ äöüßéè"},
		{"white space is one blank", "a\n  b", "a b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, wrap(c.in, 10)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAlign(t *testing.T) {
	got := Align([]Field{{"é", "1"}, {"long", "2\n3"}, {"none", ""}})
	want := "é     1\nlong  2\n      3\nnone\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWaitingTellsUntilDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan string, 100)
		done := Waiting(writerFunc(func(p []byte) { told <- string(p) }), time.Second, "waiting for it")
		if first := <-told; !strings.HasPrefix(first, "    … waiting for it, ") {
			t.Errorf("got %q", first)
		}
		done()
		synctest.Wait()
		for len(told) > 0 {
			<-told
		}
		time.Sleep(time.Minute)
		if len(told) > 0 {
			t.Errorf("told after the end: %q", <-told)
		}
	})
}

func TestShortWaitsAreSilent(t *testing.T) {
	var out bytes.Buffer
	Waiting(&out, time.Hour, "waiting for it")()
	if out.Len() > 0 {
		t.Errorf("told %q", out.String())
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	New(&bytes.Buffer{}, Options{Pause: time.Minute}).Pause(ctx)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("paused for %s", took)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }
