package webhook

import (
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
