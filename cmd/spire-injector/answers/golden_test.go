package answers

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden asks about clusters. Each file in testdata has manifests, and what is answered of a cluster that they were
// applied to, and of the manifests alone.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("expected files, got %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			manifests := string(archive.Files[0].Data)
			cluster, plan := NewMesh(gathered(t, live(t, manifests))), NewMesh(written(t, manifests))
			for i := range archive.Files[1:] {
				f := &archive.Files[i+1]
				m := cluster
				question, offline := strings.CutPrefix(f.Name, "offline ")
				if offline {
					m = plan
				}
				got := answer(t, m, question)
				if *update {
					f.Data = got
				} else if diff := cmp.Diff(string(f.Data), string(got)); diff != "" {
					t.Errorf("%s (go test -update writes it anew):\n%s", f.Name, diff)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// answer is what a command prints.
func answer(t *testing.T, m *Mesh, question string) []byte {
	t.Helper()
	words := strings.Fields(question)
	var out bytes.Buffer
	write := func(f func(io.Writer) error) {
		t.Helper()
		if err := f(&out); err != nil {
			t.Fatal(err)
		}
	}
	switch words[0] {
	case "list":
		list := m.List("")
		if len(words) > 1 {
			write(list.WriteJSON)
		} else {
			write(list.WriteText)
		}
	case "check":
		found := m.Findings()
		if len(words) > 1 {
			s, err := ParseSupposition(words[2])
			if err != nil {
				t.Fatal(err)
			}
			if found, err = m.Suppose([]Supposition{s}); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range found {
			fmt.Fprintf(&out, "%s %s: %s: %s\n    %s\n", f.Severity, f.Check, f.Where, f.Found, f.Remedy)
		}
	case "explain":
		explained := func() (Explanation, error) { return m.Explain(words[1], "") }
		if len(words) > 2 {
			request, err := ParseRequest(strings.Join(words[3:], " "))
			if err != nil {
				t.Fatal(err)
			}
			explained = func() (Explanation, error) { return m.ExplainCall(words[1], words[2], "", request) }
		}
		e, err := explained()
		if err != nil {
			return []byte("error: " + err.Error() + "\n")
		}
		write(e.WriteText)
	case "graph":
		selection := Selection{}
		draw := Graph.WriteText
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "--to":
				selection.To = value
			case "--from":
				selection.From = value
			case "-n":
				selection.Namespace = value
			case "-o":
				draw = map[string]func(Graph, io.Writer) error{
					"json": Graph.WriteJSON, "dot": Graph.WriteDOT, "mermaid": Graph.WriteMermaid}[value]
			}
		}
		graph, err := m.Graph(selection)
		if err != nil {
			return []byte("error: " + err.Error() + "\n")
		}
		write(func(w io.Writer) error { return draw(graph, w) })
	default:
		t.Fatalf("unknown question %q", question)
	}
	return out.Bytes()
}
