package offline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

// What is left alone comes back byte for byte, however its lines end.
func TestPassThrough(t *testing.T) {
	t.Parallel()
	inputs := []string{
		"", "\n", "---", "---\n", "...\n", "a: b", "a: b\n---", "a: b\r\n---\r\nc: d", "# x\n--- # y\n\n---\n---\na: b\n...\n",
		"--- {a: b}\n--- {a: b}", "a: |\n  ---\n  ...\n", "{\"a\": 1}", "---a: b\n", "\ufeffa: b\n", "a: \"\\u00e9\" # é\n",
		"kind: Pod\napiVersion: v1\nmetadata: {labels: {other.io/a: b}}", "kind: List\napiVersion: v1", "kind: List\napiVersion: v1\nitems: []",
	}
	for _, input := range inputs {
		out, err := Inject(inject.Injector{}, "default", []byte(input))
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		if diff := cmp.Diff(input, string(out.Manifests)); diff != "" {
			t.Errorf("%q is not what comes back:\n%s", input, diff)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	type part struct{ Marker, Text string }
	tests := map[string][]part{
		"a: b\n---\nc: d":         {{"", "a: b\n"}, {"---\n", "c: d"}},
		"---\na: b\n":             {{"", ""}, {"---\n", "a: b\n"}},
		"--- # x\r\na: b\n":       {{"", ""}, {"--- # x\r\n", "a: b\n"}},
		"--- {a: b}\nc: d\n":      {{"", ""}, {"---", " {a: b}\nc: d\n"}},
		"a: b\n...\nc: d\n":       {{"", "a: b\n"}, {"...\n", "c: d\n"}},
		"a: b\n---- x\n":          {{"", "a: b\n---- x\n"}},
		"a: |\n  ---\n ...\n--- ": {{"", "a: |\n  ---\n ...\n"}, {"--- ", ""}},
		"... x\n":                 {{"", "... x\n"}},
	}
	for input, want := range tests {
		var got []part
		for _, d := range cut([]byte(input)) {
			got = append(got, part{string(d.marker), string(d.text)})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", input, diff)
		}
	}
}
