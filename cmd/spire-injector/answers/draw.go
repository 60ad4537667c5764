package answers

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteJSON writes the graph as one JSON object.
func (g Graph) WriteJSON(w io.Writer) error { return writeJSON(w, g) }

// WriteText writes a line for each edge, below it what does not agree, and after them what else is let in.
func (g Graph) WriteText(w io.Writer) error {
	if len(g.Edges) > 0 {
		columns := []string{"CALLER", "CALLS", "PORT", "BY", "AGREEMENT"}
		if g.compared {
			columns = append(columns, "CHANGE")
		}
		t := newTable(columns...)
		for _, e := range g.Edges {
			port, by := "", e.Address
			if e.Port != 0 {
				port = fmt.Sprint(e.Port)
			}
			if e.Listen != 0 {
				by = fmt.Sprintf("%s:%d → %s", cmp.Or(e.Name, "127.0.0.1"), e.Listen, e.Address)
			}
			cells := []string{e.From, e.To, port, by, string(e.Agreement)}
			if g.compared {
				cells = append(cells, string(e.Change))
			}
			t.row(cells...)
			if e.Reason != (Reason{}) {
				t.below(e.lines()...)
			}
			t.below(e.Used)
		}
		if err := t.write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	for _, n := range g.Nodes {
		for _, item := range n.LetsIn {
			who := "which is nobody here"
			if item.Workloads > 0 {
				who = agree(item.Workloads, "workload", "workloads")
			}
			fmt.Fprintf(w, "%s lets in %s at %d: %s (%s)\n", n.ID, shortOf(item.Peer, g.trustDomain), item.Port, who, item.WrittenIn)
		}
		if n.Why != nil {
			fmt.Fprintf(w, "%s is %s: %s\n", n.ID, n.State.text(), strings.Join(n.Why.lines(), "\n    "))
		}
	}
	for _, gap := range g.Gaps {
		fmt.Fprintln(w, gap)
	}
	_, err := fmt.Fprintln(w, g.summary())
	return err
}

func (g Graph) summary() string {
	counts := map[Agreement]int{}
	changes := map[Change]int{}
	for _, e := range g.Edges {
		counts[e.Agreement]++
		changes[e.Change]++
	}
	if g.compared {
		return fmt.Sprintf("%s added, %d cut", agree(changes[Added], "edge", "edges"), changes[Gone])
	}
	text := agree(len(g.Edges), "edge", "edges")
	for _, a := range []Agreement{Agrees, Mismatch, Unclear, Outside, Unused} {
		if n := counts[a]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, a)
		}
	}
	denied := 0
	for _, n := range g.Nodes {
		if n.State == Denied {
			denied++
		}
	}
	if denied > 0 {
		text += ", " + agree(denied, "workload", "workloads") + " denied"
	}
	return text
}

// styles are how edges are drawn: in colours that a person with colour blindness tells apart, and in lines.
var styles = map[Agreement]struct{ color, line string }{
	Agrees:   {"#0072b2", "solid"},
	Mismatch: {"#d55e00", "bold"},
	Unclear:  {"#777777", "dashed"},
	Outside:  {"#777777", "solid"},
	Unused:   {"#777777", "dotted"},
}

// label is what stands at an edge.
func (e Edge) label() string {
	label := ""
	if e.Port != 0 {
		label = fmt.Sprint(e.Port)
	}
	switch e.Agreement {
	case Mismatch, Unclear:
		return strings.TrimSpace(label + " " + string(e.Agreement) + ": " + e.Check)
	case Unused:
		return strings.TrimSpace(label + " " + string(e.Agreement))
	case Agrees, Outside:
	}
	return label
}

// label is what stands in a node: its name, and whom it is.
func (n Node) label(trustDomain string) []string {
	lines := []string{n.ID}
	for _, id := range n.SPIFFEIDs {
		lines = append(lines, shortOf(id, trustDomain))
	}
	if n.State != "" && n.State != Injected && n.State != ToBeInjected {
		lines = append(lines, n.State.text())
	}
	return lines
}

// namespaces are those of the nodes, in order; the empty one, outside, is the last.
func (g Graph) namespaces() []string {
	var names []string
	outside := false
	for _, n := range g.Nodes {
		outside = outside || n.Namespace == ""
		if n.Namespace != "" && !slices.Contains(names, n.Namespace) {
			names = append(names, n.Namespace)
		}
	}
	slices.Sort(names)
	if outside {
		names = append(names, "")
	}
	return names
}

// WriteDOT writes the graph in the language of Graphviz.
func (g Graph) WriteDOT(w io.Writer) error {
	var b strings.Builder
	b.WriteString("digraph mesh {\n  rankdir=LR\n  node [shape=box, fontname=\"sans-serif\"]\n  edge [fontname=\"sans-serif\"]\n")
	for i, ns := range g.namespaces() {
		indent := "  "
		if ns != "" {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s\n", i, quoteDOT(ns))
			indent = "    "
		}
		for _, n := range g.Nodes {
			if n.Namespace == ns {
				fmt.Fprintf(&b, "%s%s [label=%s]\n", indent, quoteDOT(n.ID), quoteDOT(n.label(g.trustDomain)...))
			}
		}
		if ns != "" {
			b.WriteString("  }\n")
		}
	}
	for _, e := range g.Edges {
		s := styles[e.Agreement]
		fmt.Fprintf(&b, "  %s -> %s [label=%s, tooltip=%s, color=%q, fontcolor=%q, style=%s]\n", quoteDOT(e.From), quoteDOT(e.To),
			quoteDOT(e.label()), quoteDOT(e.Found), s.color, s.color, s.line)
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// quoteDOT is a string of DOT with its lines.
func quoteDOT(lines ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ")
	quoted := make([]string, len(lines))
	for i, line := range lines {
		quoted[i] = escape.Replace(line)
	}
	return `"` + strings.Join(quoted, `\n`) + `"`
}

// WriteMermaid writes the graph as a flowchart of Mermaid, which Markdown on many sites shows as a picture.
func (g Graph) WriteMermaid(w io.Writer) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	names := map[string]string{}
	for i, ns := range g.namespaces() {
		indent := "  "
		if ns != "" {
			fmt.Fprintf(&b, "  subgraph ns%d[%s]\n", i, quoteMermaid(ns))
			indent = "    "
		}
		for _, n := range g.Nodes {
			if n.Namespace == ns {
				names[n.ID] = fmt.Sprintf("n%d", len(names))
				fmt.Fprintf(&b, "%s%s[%s]\n", indent, names[n.ID], quoteMermaid(n.label(g.trustDomain)...))
			}
		}
		if ns != "" {
			b.WriteString("  end\n")
		}
	}
	drawn := map[Agreement][]string{}
	for i, e := range g.Edges {
		arrow := "-->"
		switch e.Agreement {
		case Mismatch:
			arrow = "==>"
		case Unclear, Unused:
			arrow = "-.->"
		case Agrees, Outside:
		}
		label := ""
		if text := e.label(); text != "" {
			label = "|" + quoteMermaid(text) + "|"
		}
		fmt.Fprintf(&b, "  %s %s%s %s\n", names[e.From], arrow, label, names[e.To])
		drawn[e.Agreement] = append(drawn[e.Agreement], fmt.Sprint(i))
	}
	for _, a := range []Agreement{Agrees, Mismatch, Unclear, Outside, Unused} {
		if len(drawn[a]) > 0 {
			fmt.Fprintf(&b, "  linkStyle %s stroke:%s\n", strings.Join(drawn[a], ","), styles[a].color)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoteMermaid is a text of Mermaid with its lines.
func quoteMermaid(lines ...string) string {
	escape := strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;", "\n", " ")
	quoted := make([]string, len(lines))
	for i, line := range lines {
		quoted[i] = escape.Replace(line)
	}
	return `"` + strings.Join(quoted, "<br/>") + `"`
}
