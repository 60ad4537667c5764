package answers

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Kind is what an Envoy's log says of a call.
type Kind string

// The kinds. The first five are of callers, the last two of the app's own calls.
const (
	Passed  Kind = "passed"
	Refused Kind = "refused" // in the handshake
	Rebuked Kind = "denied"  // a request, with 401 or 403
	Audited Kind = "audited" // let in, and would be refused if it were enforced
	Plain   Kind = "plain"   // in plain text, on a permissive port
	Called  Kind = "called"
	Failed  Kind = "failed"
)

// Seen are calls of one kind that are alike, in a log.
type Seen struct {
	Kind Kind   `json:"kind"`
	Peer string `json:"peer,omitempty"` // SPIFFE ID of the other side
	// Address is of the other side, where it has no ID.
	Address     string    `json:"address,omitempty"`
	Port        uint16    `json:"port"` // Envoy's: where callers come, or where the app calls
	Reason      string    `json:"reason,omitempty"`
	Count       int       `json:"count"`
	First, Last time.Time `json:"-"`
}

// Log is what the end of an Envoy's log says.
type Log struct {
	From, Until time.Time // of the first and the last line with a time
	Seen        []Seen
	// Rejection is what Envoy said last of a configuration that it rejects.
	Rejection string
	// Cut says that not all of it was read.
	Cut bool
}

// mostSeen bounds the kinds of calls that are told apart in a log.
const mostSeen = 500

// mostReason bounds a reason, some of which a caller can write.
const mostReason = 160

// line is one of the access log.
type line struct {
	Time     time.Time   `json:"time"`
	Event    string      `json:"event"`
	Listener string      `json:"listener"`
	Peer     string      `json:"peer"`
	Remote   string      `json:"remote"`
	Reason   string      `json:"reason"`
	Status   json.Number `json:"status"`
	Flags    string      `json:"flags"`
	Details  string      `json:"details"`
	Method   string      `json:"method"`
	Path     string      `json:"path"`
	Audit    string      `json:"audit"`
	Rule     string      `json:"rule"`
	Upstream string      `json:"upstream"`
}

// ReadLog reads the end of an Envoy's log, a line at a time. Lines that are neither of its access log nor of its own
// are passed over.
func ReadLog(r io.Reader) (Log, error) {
	var l Log
	known := map[Seen]int{}
	lines := 0
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, 64<<10), mostAnswer)
	for ; scanner.Scan(); lines++ {
		raw := scanner.Bytes()
		if len(raw) > 0 && raw[0] == '[' {
			l.addOwn(string(raw))
			continue
		}
		var of line
		if !of.read(raw) {
			continue
		}
		l.reach(of.Time)
		s, ok := of.seen()
		if !ok {
			continue
		}
		at, ok := known[s]
		switch {
		case !ok && len(l.Seen) == mostSeen:
			continue
		case !ok:
			at = len(l.Seen)
			known[s] = at
			s.First = of.Time
			l.Seen = append(l.Seen, s)
		}
		l.Seen[at].Count++
		l.Seen[at].Last = of.Time
	}
	err := scanner.Err()
	tooLong := errors.Is(err, bufio.ErrTooLong)
	l.Cut = tooLong || lines >= mostLines
	if tooLong {
		err = nil
	}
	return l, err
}

// reach says that there is a line of some time.
func (l *Log) reach(t time.Time) {
	if t.IsZero() {
		return
	}
	if l.From.IsZero() {
		l.From = t
	}
	l.Until = t
}

// addOwn takes a line that Envoy writes itself: [TIME][THREAD][LEVEL][COMPONENT] [FILE:LINE] TEXT.
func (l *Log) addOwn(text string) {
	stamp, rest, _ := strings.Cut(text[1:], "]")
	if t, err := time.Parse("2006-01-02 15:04:05.000", stamp); err == nil {
		l.reach(t)
	}
	if at := strings.Index(rest, " rejected: "); at >= 0 && strings.Contains(rest, "config") {
		l.Rejection = intent.Cut(strings.TrimSpace(rest[at+len(" rejected: "):]), mostMessage)
	}
}

// seen is what a line says; false for one that says nothing of a call.
func (of line) seen() (Seen, bool) {
	s := Seen{Peer: of.Peer, Port: listenerPort(of.Listener)}
	if s.Peer == "" {
		if host, _, err := net.SplitHostPort(of.Remote); err == nil {
			s.Address = host
		}
	}
	status, _ := strconv.Atoi(string(of.Status))
	switch of.Event {
	case "handshake_refused":
		s.Kind, s.Reason = Refused, of.Reason
	case "plain_request", "plain_connection":
		s.Kind = Plain
	case "request", "connection":
		switch {
		case of.Audit == "denied":
			s.Kind = Audited
		case status == 401 || status == 403:
			s.Kind, s.Reason = Rebuked, strings.TrimSpace(of.Method+" "+of.Path+" "+of.Details)
		default:
			s.Kind = Passed
		}
	case "upstream_request", "upstream_connection":
		s.Kind, s.Address = Called, ""
		if of.Reason != "" || status >= 500 && of.Flags != "" && of.Flags != "-" {
			s.Kind, s.Reason = Failed, of.Reason
			if s.Reason == "" {
				s.Reason = of.Details
			}
			s.Peer = "" // which is not always known of a failure
		}
	default:
		return Seen{}, false
	}
	s.Reason = intent.Cut(s.Reason, mostReason)
	return s, true
}

// listenerPort is the port at the end of a listener's name.
func listenerPort(listener string) uint16 {
	port, err := strconv.ParseUint(listener[strings.LastIndexByte(listener, '_')+1:], 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// mergedSeen are calls of several logs, those that are alike together, the last first.
func mergedSeen(logs ...*Log) []Seen {
	var out []Seen
	known := map[Seen]int{}
	for _, l := range logs {
		for _, s := range l.Seen {
			alike := s
			alike.Count, alike.First, alike.Last = 0, time.Time{}, time.Time{}
			at, ok := known[alike]
			if !ok {
				known[alike] = len(out)
				out = append(out, s)
				continue
			}
			out[at].Count += s.Count
			if s.First.Before(out[at].First) {
				out[at].First = s.First
			}
			if s.Last.After(out[at].Last) {
				out[at].Last = s.Last
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Seen) int { return b.Last.Compare(a.Last) })
	return out
}
