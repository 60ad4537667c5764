package scene

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The events of lines in a sidecar's log that stories are about.
const (
	EventRefused = "handshake_refused"
	EventRequest = "request"
)

// LogLine is a line that a server's Envoy writes for a request, or for a handshake that it refused. What it did not
// know is empty.
type LogLine struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Peer   string    `json:"peer,omitempty"`   // who called
	Self   string    `json:"self,omitempty"`   // who was called
	Remote string    `json:"remote,omitempty"` // the caller's address, which tells its connections apart
	Status int       `json:"status,omitempty"` // of a request
	Reason string    `json:"reason,omitempty"` // of a refused handshake
}

// LinesOf are the lines about a peer within a time, in their order. Lines that are not JSON are Envoy's own log, not
// ours.
func LinesOf(log, event, peer string, from, to time.Time) []LogLine {
	var out []LogLine
	for text := range strings.Lines(log) {
		var line LogLine
		if json.Unmarshal([]byte(text), &line) != nil || line.Event != event || line.Peer != peer {
			continue
		}
		if !line.Time.Before(from) && !line.Time.After(to) {
			out = append(out, line)
		}
	}
	return out
}

const (
	// LogLimit is how long a line may take from Envoy to kubectl logs.
	LogLimit = 10 * time.Second
	// ClockSkew is how far the clock of a pod's node may be from ours.
	ClockSkew = 2 * time.Second
)

// Refusal waits for a line of an Envoy, of which log is the command, on a handshake that it refused to peer between two
// points in time, and returns the last of them, and how to see it. because has to be in its reason. Who shows no
// certificate is "".
func (s Scene) Refusal(ctx context.Context, log Command, peer, because string, from, to time.Time) (Command, LogLine, error) {
	c := log
	c.Pipe = "grep " + EventRefused + " | tail -n 1"
	if peer != "" {
		c.Pipe = fmt.Sprintf("grep %s | grep %s | tail -n 1", EventRefused, Quote(peer))
	}
	lines, err := s.refusals(ctx, log, peer, because, from.Add(-ClockSkew), to.Add(ClockSkew))
	switch {
	case err != nil:
		return c, LogLine{}, err
	case len(lines) == 0:
		return c, LogLine{}, &Mismatch{
			What:     log.String(),
			Expected: fmt.Sprintf("a line %q on %s from %s to %s", EventRefused, cmp.Or(peer, "nobody"), from.Format(time.TimeOnly), to.Format(time.TimeOnly)),
			Look:     log.String(),
		}
	}
	line := lines[len(lines)-1]
	if !strings.Contains(line.Reason, because) {
		err = &Mismatch{What: "reason of the refused handshake", Expected: "one with " + because, Got: line.Reason, Look: c.String()}
	}
	return c, line, err
}

// refusals waits for lines that have because in their reason. There may be others at first, of an earlier call; if they
// stay alone, it returns those.
func (s Scene) refusals(ctx context.Context, log Command, peer, because string, from, to time.Time) ([]LogLine, error) {
	var (
		lines []LogLine
		since time.Time // when the first line was there
	)
	_, err := Poll(ctx, LogLimit, func() (bool, error) {
		r, err := s.Run(ctx, log)
		lines = LinesOf(r.Stdout, EventRefused, peer, from, to)
		wanted := slices.DeleteFunc(slices.Clone(lines), func(l LogLine) bool { return !strings.Contains(l.Reason, because) })
		if len(wanted) > 0 {
			lines = wanted
			return true, err
		}
		if len(lines) > 0 && since.IsZero() {
			since = time.Now()
		}
		return len(lines) > 0 && time.Since(since) > ClockSkew, err
	})
	return lines, err
}
