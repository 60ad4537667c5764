package migrate

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// stream is who calls whom all the time: a container of the caller, named after the callee.
type stream struct{ caller, callee string }

func (s stream) container() string { return "calls-" + s.callee }

func (s stream) String() string { return s.caller + " to " + s.callee }

// streams are all of the demo.
func streams() []stream { return []stream{{Web, API}, {Batch, API}, {Batch, Web}} }

// Calls is what became of calls, all streams together.
type Calls struct {
	Made   int `json:"calls"`
	Failed int `json:"failed"`
	// First is the first that failed, as the app saw it.
	First string `json:"firstFailure,omitempty"`
}

// tally counts the calls of all streams.
type tally struct {
	mu sync.Mutex
	// from is when counting begins: what was called before is left out.
	from     time.Time
	made     map[stream]int
	new, all Calls
}

// newTally begins to count with calls of a time.
func newTally(from time.Time) *tally { return &tally{from: from, made: map[stream]int{}} }

// add counts a line of a caller's log: its time, the status or "error", and the answer. Lines of other shapes are not
// calls.
func (t *tally) add(s stream, line string) {
	parts := strings.SplitN(line, " ", 3)
	if len(parts) != 3 {
		return
	}
	at, err := time.Parse(time.RFC3339, parts[0])
	if err != nil || at.Before(t.from) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made[s]++
	for _, c := range []*Calls{&t.new, &t.all} {
		c.Made++
		if parts[1] == "200" && parts[2] == "ok" {
			continue
		}
		if c.Failed++; c.First == "" {
			c.First = s.String() + ": " + line
		}
	}
}

// least is how many calls the stream with the fewest has made, beyond those of an earlier time, and that stream.
func (t *tally) least(beyond map[stream]int) (int, stream) {
	made := t.snapshot()
	var (
		least int
		which stream
	)
	for i, s := range streams() {
		if n := made[s] - beyond[s]; i == 0 || n < least {
			least, which = n, s
		}
	}
	return least, which
}

// snapshot is how many calls each stream has made.
func (t *tally) snapshot() map[stream]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	made := make(map[stream]int, len(t.made))
	for s, n := range t.made {
		made[s] = n
	}
	return made
}

// take is what came since the last take, and all that came. The error is a [scene.Mismatch] if a call failed.
func (t *tally) take() (since, all Calls, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	since, all, t.new = t.new, t.all, Calls{}
	if since.Failed > 0 {
		err = &scene.Mismatch{
			What: fmt.Sprintf("%d calls", since.Made), Expected: "an answer to each",
			Got: fmt.Sprintf("%d failures, first: %s", since.Failed, since.First), Look: inShop("get", "pods,events").String(),
		}
	}
	return since, all, err
}
