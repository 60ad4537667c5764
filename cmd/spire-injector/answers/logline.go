package answers

import (
	"bytes"
	"encoding/json"
)

// read reads a line as encoding/json does; false for one that is none of the access log.
func (of *line) read(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '{' {
		return false
	}
	if !of.readFlat(raw) {
		*of = line{}
		if json.Unmarshal(raw, of) != nil {
			return false
		}
	}
	return of.Event != ""
}

// readFlat reads a line as Envoy writes nearly all of them: an object of texts and whole numbers, without blanks and
// escapes. False for another one, which may be JSON all the same. A suggestion reads up to 200,000 lines, and most of
// its time would go into reflection.
func (of *line) readFlat(raw []byte) bool {
	t := flat(raw)
	if !t.takes('{') {
		return false
	}
	for {
		key, ok := t.text()
		if !ok || !t.takes(':') || !of.set(key, &t) {
			return false
		}
		if t.takes('}') {
			return len(t) == 0
		}
		if !t.takes(',') {
			return false
		}
	}
}

// set reads the value of a field.
func (of *line) set(key []byte, t *flat) bool {
	var to *string
	switch string(key) {
	case "time":
		value, ok := t.quoted()
		return ok && of.Time.UnmarshalJSON(value) == nil
	case "status":
		value, ok := t.number()
		of.Status = json.Number(value)
		return ok
	case "event":
		to = &of.Event
	case "listener":
		to = &of.Listener
	case "peer":
		to = &of.Peer
	case "remote":
		to = &of.Remote
	case "reason":
		to = &of.Reason
	case "flags":
		to = &of.Flags
	case "details":
		to = &of.Details
	case "method":
		to = &of.Method
	case "path":
		to = &of.Path
	case "audit":
		to = &of.Audit
	case "rule":
		to = &of.Rule
	case "upstream":
		to = &of.Upstream
	default:
		if bytes.ContainsFunc(key, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
			return false // encoding/json takes it for the same in lower case
		}
		if _, ok := t.text(); ok {
			return true
		}
		_, ok := t.number()
		return ok
	}
	value, ok := t.text()
	*to = string(value)
	return ok
}

// flat is what is left of a line.
type flat []byte

func (t *flat) takes(c byte) bool {
	if len(*t) == 0 || (*t)[0] != c {
		return false
	}
	*t = (*t)[1:]
	return true
}

// quoted takes a text with its quotes; nothing of one that is not ASCII without escapes.
func (t *flat) quoted() ([]byte, bool) {
	if len(*t) == 0 || (*t)[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(*t); i++ {
		switch c := (*t)[i]; {
		case c == '"':
			value := (*t)[:i+1]
			*t = (*t)[i+1:]
			return value, true
		case c < ' ' || c == '\\' || c > '~':
			return nil, false
		}
	}
	return nil, false
}

func (t *flat) text() ([]byte, bool) {
	value, ok := t.quoted()
	if !ok {
		return nil, false
	}
	return value[1 : len(value)-1], true
}

// number takes a whole number that is not negative.
func (t *flat) number() ([]byte, bool) {
	n := 0
	for n < len(*t) && '0' <= (*t)[n] && (*t)[n] <= '9' {
		n++
	}
	value := (*t)[:n]
	*t = (*t)[n:]
	return value, n == 1 || n > 1 && value[0] != '0'
}
