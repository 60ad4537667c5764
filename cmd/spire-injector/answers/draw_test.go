package answers

import (
	"strings"
	"testing"
)

// What a name may be made of does not end a text in a picture.
func TestQuotes(t *testing.T) {
	t.Parallel()
	const hostile = "a\"] <script> \\"
	g := Graph{
		Nodes: []Node{{ID: hostile, Namespace: hostile, SPIFFEIDs: []string{hostile}}},
		Edges: []Edge{{From: hostile, To: hostile, Agreement: Mismatch, Check: hostile, Reason: Reason{Found: hostile}}},
	}
	var dot, mermaid strings.Builder
	if err := g.WriteDOT(&dot); err != nil {
		t.Fatal(err)
	}
	if err := g.WriteMermaid(&mermaid); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(dot.String(), "\n") {
		if n := strings.Count(strings.NewReplacer(`\\`, "", `\"`, "").Replace(line), `"`); n%2 != 0 {
			t.Errorf("expected quotes in pairs, got %s", line)
		}
	}
	for _, line := range strings.Split(mermaid.String(), "\n") {
		inside := false
		for _, r := range strings.ReplaceAll(line, "<br/>", "") {
			if r == '"' {
				inside = !inside
			}
			if inside && strings.ContainsRune("<>", r) {
				t.Errorf("expected no tags in a text, got %s", line)
			}
		}
		if inside {
			t.Errorf("expected quotes in pairs, got %s", line)
		}
	}
}
