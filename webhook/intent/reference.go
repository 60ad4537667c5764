package intent

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Reference describes the annotations that users write, for help texts.
func Reference() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, a := range annotations {
		if a.parse == nil {
			continue
		}
		change := "needs a new pod"
		if a.live {
			change = "may change on a running pod"
		}
		// A strings.Builder takes everything.
		_, _ = w.Write([]byte("  " + a.key + "\t" + a.doc + "; " + change + "\n  \t  " + a.example + "\n"))
	}
	_ = w.Flush()
	return out.String()
}

// MarkdownReference describes the labels, the annotations and the platform file in the tables of a Markdown document.
func MarkdownReference() string {
	var out strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	head := func(cells ...string) {
		row(cells...)
		out.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
	}
	out.WriteString("## Labels\n\n")
	head("label", "where", "values")
	for _, l := range labels {
		row(code(l.key), l.where, markdown.Replace(l.doc))
	}
	out.WriteString("\n## Annotations\n\nAnnotations of a Namespace are the defaults of its pods.\n\n")
	head("annotation", "meaning", "example", "on a running pod")
	for _, a := range annotations {
		switch {
		case a.parse == nil:
			row(code(a.key), "written by the webhook: "+markdown.Replace(a.doc), "", "never by hand")
		case a.live:
			row(code(a.key), markdown.Replace(a.doc), code(a.example), "at once")
		default:
			row(code(a.key), markdown.Replace(a.doc), code(a.example), "needs a new pod")
		}
	}
	fmt.Fprintf(&out, "\nPorts of a running pod stay: a change of `%s` or `%s` that adds, moves or removes one\n"+
		"needs a new pod.\n",
		AnnotationInbound, AnnotationUpstreams)
	out.WriteString("\n## The platform file\n\nIt is decoded strictly: an unknown or duplicate field is an error.\n\n")
	head("field", "meaning", "default")
	for path, f := range everyField(platformFields, "") {
		standard := markdown.Replace(f.without)
		if f.standard != "" {
			standard = code(f.standard)
		}
		row(code(path), markdown.Replace(f.doc), standard)
	}
	return out.String()
}

// labels are all of the contract.
var labels = []struct{ key, where, doc string }{
	{LabelInject, "Pod, Namespace",
		"enabled, disabled; on a Namespace also required: its pods cannot opt out. A pod's own label wins otherwise"},
	{LabelIdentity, "Pod", "written by the webhook: the registration entry selects it"},
}

// markdown escapes what means something else in a cell of a table.
var markdown = strings.NewReplacer("*", `\*`, "|", `\|`, "_", `\_`, "<", `\<`, "[", `\[`)

func code(s string) string { return "`" + strings.ReplaceAll(s, "|", `\|`) + "`" }
