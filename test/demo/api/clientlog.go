package api

import (
	"strings"
	"time"
)

// Logged is one call in the log of a client's app: its time, the status or "error", and the answer's first line.
type Logged struct {
	Line   string
	Time   time.Time
	Status string
	Answer string
}

// OK is whether the call got what the API answers.
func (l Logged) OK() bool { return l.Status == "200" && l.Answer == "ok" }

// parseCalls reads a client's log; lines of other shapes are not calls.
func parseCalls(log string) []Logged {
	var calls []Logged
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		parts := strings.SplitN(line, " ", 3)
		if len(parts) != 3 {
			continue
		}
		at, err := time.Parse(time.RFC3339, parts[0])
		if err != nil {
			continue
		}
		calls = append(calls, Logged{Line: line, Time: at, Status: parts[1], Answer: parts[2]})
	}
	return calls
}

// sinceFirstOK counts the calls from the first success on, and returns those of them that failed.
func sinceFirstOK(calls []Logged) (count int, failed []Logged) {
	for _, c := range calls {
		switch {
		case c.OK():
			count++
		case count > 0:
			count++
			failed = append(failed, c)
		}
	}
	return count, failed
}
