package templates

import (
	"slices"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
)

func TestMostSpecificMatchIsFirst(t *testing.T) {
	var got []ir.Match
	for _, text := range []string{"/", "/a", "/b/c", "/b", "/abc"} {
		got = append(got, match(t, text))
	}
	slices.SortFunc(got, compareMatches)
	var texts []string
	for _, m := range got {
		texts = append(texts, m.String())
	}
	if want := []string{"/abc", "/b/c", "/a", "/b", "/"}; !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
}
