package layout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShare(t *testing.T) {
	long := strings.Repeat("long", 30)
	typed := `{"@type":"type.googleapis.com/envoy.a.set_state.v3.Config","x":"` + long + `"}`
	in := map[string]string{
		"a": `{"once":{"x":"` + long + `2"},"filter":{"name":"my.filter","config":` + typed + `},"short":["s"]}`,
		"b": `{"chain":[{"name":"my.filter","config":` + typed + `}],"short":["s"]}`,
		"c": `{"other":` + typed + `,"access_log":["` + long + `"]}`,
		"d": `{"access_log":["` + long + `"],"other":{"access_log":["` + long + `2"]},"more":["` + long + `2"]}`,
		"e": `{}`,
	}
	documents := map[string][]byte{}
	for name, text := range in {
		documents[name] = []byte(text)
	}
	common, laidOut, err := Share(documents)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"common": string(common)}
	for name, text := range laidOut {
		got[name] = string(text)
		if back, err := JSON(Whole(common, text)); err != nil || string(back) != in[name] {
			t.Errorf("%s: expected %s back, got %s, %v", name, in[name], back, err)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"common": `common:
  set_state: &set_state
    "@type": type.googleapis.com/envoy.a.set_state.v3.Config
    x: LONG
  access_log: &access_log [LONG]
  access_log_2: &access_log_2 [LONG2]
`,
		"a": "once: {x: LONG2}\nfilter: {name: my.filter, config: *set_state}\nshort: [s]\n",
		"b": "chain: [{name: my.filter, config: *set_state}]\nshort: [s]\n",
		"c": "other: *set_state\naccess_log: *access_log\n",
		"d": "access_log: *access_log\nother: {access_log: *access_log_2}\nmore: *access_log_2\n",
		"e": "\n",
	}, replaceAll(got, long, "LONG")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, _, err := Share(map[string][]byte{"a": []byte("[1]")}); err == nil {
		t.Error("expected an error for a document that no other may stand before")
	}
}

func replaceAll(texts map[string]string, old, with string) map[string]string {
	out := map[string]string{}
	for name, text := range texts {
		out[name] = strings.ReplaceAll(text, old, with)
	}
	return out
}
