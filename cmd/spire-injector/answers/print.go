package answers

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// writeJSON writes a value as one JSON object.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// table writes rows with their columns below one another. What belongs to a row follows it, indented.
type table struct {
	b       strings.Builder
	tabs    *tabwriter.Writer
	details map[int][]string // by the number of the row
	rows    int
}

func newTable(columns ...string) *table {
	t := &table{details: map[int][]string{}}
	t.tabs = tabwriter.NewWriter(&t.b, 0, 0, 2, ' ', 0)
	t.row(columns...)
	return t
}

func (t *table) row(columns ...string) {
	for i, c := range columns {
		if c == "" {
			columns[i] = "-"
		}
	}
	fmt.Fprintln(t.tabs, strings.Join(columns, "\t"))
	t.rows++
}

// below adds lines below the last row.
func (t *table) below(lines ...string) {
	for _, line := range lines {
		if line != "" {
			t.details[t.rows] = append(t.details[t.rows], line)
		}
	}
}

func (t *table) write(w io.Writer) error {
	if err := t.tabs.Flush(); err != nil {
		return err
	}
	var out strings.Builder
	row := 0
	for line := range strings.Lines(t.b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
		row++
		for _, detail := range t.details[row] {
			out.WriteString("    " + detail + "\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// lines are the lines of a reason.
func (r Reason) lines() []string {
	if r.Remedy == "" {
		return []string{r.Found}
	}
	return []string{r.Found, "remedy: " + r.Remedy}
}

// WriteJSON writes the list as one JSON object.
func (l List) WriteJSON(w io.Writer) error { return writeJSON(w, l) }

// WriteText writes a line for each workload, below it what is wrong, and at the end how many there are.
func (l List) WriteText(w io.Writer) error {
	if len(l.Workloads) > 0 {
		columns := []string{"NAMESPACE", "WORKLOAD", "READY", "IDENTITY", "MODE", "LETS IN", "SIDECAR", "CONFIG"}
		if l.asked {
			columns = append(columns, "SVID")
		}
		t := newTable(append(columns, "STATE")...)
		for _, row := range l.Workloads {
			var images, configs, peers []string
			for _, c := range row.Images {
				images = append(images, l.version(c, len(row.Images)))
			}
			for _, c := range row.Configs {
				text := c.Value[:min(len(c.Value), 8)]
				if len(row.Configs) > 1 {
					text += fmt.Sprintf(" ×%d", c.Pods)
				}
				configs = append(configs, text)
			}
			for _, in := range row.Listeners {
				peers = append(peers, in.text(l.trustDomain))
			}
			ready := ""
			if of := max(row.Pods, int(row.Wanted)); of > 0 {
				ready = fmt.Sprintf("%d/%d", row.Ready, of)
			}
			if row.Rejecting > 0 {
				configs = append(configs, fmt.Sprintf("rejected by %d of %d", row.Rejecting, row.Asked))
			}
			cells := []string{
				row.Namespace, row.Kind + " " + row.Name, ready, shortOf(row.SPIFFEID, l.trustDomain), row.Mode,
				strings.Join(peers, "; "), strings.Join(images, ", "), strings.Join(configs, ", "),
			}
			if l.asked {
				cells = append(cells, row.left())
			}
			t.row(append(cells, string(row.State))...)
			if row.Why != nil {
				t.below(row.Why.lines()...)
			}
		}
		if err := t.write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if outdated := l.Outdated(); outdated != "" {
		fmt.Fprintln(w, outdated)
	}
	for _, gap := range l.Gaps {
		fmt.Fprintln(w, gap)
	}
	_, err := fmt.Fprintln(w, l.summary())
	return err
}

// left is how long the first SVID is valid.
func (row Listed) left() string {
	switch {
	case row.SVIDSeconds != nil && *row.SVIDSeconds <= 0:
		return "expired"
	case row.SVIDSeconds != nil:
		return duration.HumanDuration(time.Duration(*row.SVIDSeconds) * time.Second)
	case row.Asked > 0:
		return "unknown"
	}
	return ""
}

// text is a listener in a column.
func (in Listener) text(trustDomain string) string {
	var items []string
	for _, p := range in.Peers {
		items = append(items, shortOf(p, trustDomain))
	}
	for _, rule := range in.Rules {
		id, _, _ := strings.Cut(rule, ": ")
		items = append(items, shortOf(id, trustDomain)+" (some requests)")
	}
	if more := len(items) - mostNames; more > 0 {
		items = append(items[:mostNames:mostNames], fmt.Sprintf("%d more", more))
	}
	if in.Everybody {
		items = append(items, "everybody")
	}
	if in.Audit {
		items = append(items, "others, audited")
	}
	return fmt.Sprintf("%d: %s", in.Port, strings.Join(items, ", "))
}

// shortOf is an ID without the own trust domain.
func shortOf(id, trustDomain string) string {
	if path, ok := strings.CutPrefix(id, trustDomain+"/"); ok && trustDomain != "" {
		return "/" + path
	}
	return id
}
