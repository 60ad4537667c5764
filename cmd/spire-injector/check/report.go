package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Report is what is found of a cluster.
type Report struct {
	Findings []Finding `json:"findings"`
	OK       int       `json:"ok"`
	Warnings int       `json:"warnings"`
	Errors   int       `json:"errors"`
}

// NewReport counts findings.
func NewReport(findings []Finding) Report {
	r := Report{Findings: findings}
	for _, f := range findings {
		switch f.Status {
		case OK:
			r.OK++
		case Warning:
			r.Warnings++
		case Error:
			r.Errors++
		}
	}
	return r
}

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes a line for each finding, below it what is to be done about it, and at the end how many there are.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", f.Status, width, f.Check, f.Found)
		if f.Status == OK {
			continue
		}
		for _, detail := range []struct{ name, text string }{
			{"where", f.Where}, {"expected", f.Expected}, {"remedy", f.Remedy},
		} {
			if detail.text != "" {
				fmt.Fprintf(&b, "%-7s  %*s  %s\n", "", width, detail.name, detail.text)
			}
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %s, %s\n", r.OK, plural(r.Warnings, "warning"), plural(r.Errors, "error"))
	_, err := io.WriteString(w, b.String())
	return err
}
