package scene

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The events of lines in a sidecar's log that the story is about.
const (
	eventRefused = "handshake_refused"
	eventRequest = "request"
)

// LogLine is a line that a server's Envoy writes for a request, or for a handshake that it refused. What it did not know is
// empty.
type LogLine struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Peer   string    `json:"peer,omitempty"`   // who called
	Self   string    `json:"self,omitempty"`   // who was called
	Remote string    `json:"remote,omitempty"` // the caller's address, which tells its connections apart
	Status int       `json:"status,omitempty"` // of a request
	Reason string    `json:"reason,omitempty"` // of a refused handshake
}

// linesOf are the lines about a peer within a time, in their order. Lines that are not JSON are Envoy's own log, not ours.
func linesOf(log, event, peer string, from, to time.Time) []LogLine {
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

// EnvoyLogCommand shows the log of the API's Envoy.
func EnvoyLogCommand(flags ...string) Command {
	return inDemo(append(append([]string{"logs"}, flags...), "deploy/"+API, "-c", sidecar)...)
}

// refusedLinesCommand shows the newest refused handshake of a peer.
func refusedLinesCommand(peer string) Command {
	c := EnvoyLogCommand()
	c.Pipe = fmt.Sprintf("grep %s | grep %s | tail -n 1", eventRefused, quote(peer))
	return c
}
