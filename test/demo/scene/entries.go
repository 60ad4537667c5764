package scene

import (
	"context"
	"strings"
)

// Entry is a registration entry as SPIRE's command line prints it.
type Entry struct {
	ID        string   `json:"id"`
	SPIFFEID  string   `json:"spiffeID"`
	Selectors []string `json:"selectors"`
	TTL       string   `json:"x509SVIDTTL"` // seconds, or "default"
}

// EntriesCommand shows the entries that SPIRE has, all of them or those of a filter: -spiffeID ID, say.
func EntriesCommand(filter ...string) Command {
	return ServerCommand("spire", append([]string{"entry", "show"}, filter...)...)
}

// Entries are those of a filter.
func (s Scene) Entries(ctx context.Context, filter ...string) ([]Entry, error) {
	r, err := s.Run(ctx, EntriesCommand(filter...))
	return ParseEntries(r.Stdout), err
}

// ParseEntries reads "name : value" lines; "Entry ID" begins an entry.
func ParseEntries(text string) []Entry {
	var out []Entry
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if ok && name == "Entry ID" {
			out = append(out, Entry{ID: value})
			continue
		}
		if len(out) == 0 {
			continue
		}
		e := &out[len(out)-1]
		switch name {
		case "SPIFFE ID":
			e.SPIFFEID = value
		case "Selector":
			e.Selectors = append(e.Selectors, value)
		case "X509-SVID TTL":
			e.TTL = value
		}
	}
	return out
}
