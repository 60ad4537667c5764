package templates

import (
	"bytes"
	"encoding/json"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/golden/layout"
)

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                              `{}`,
		`[]`:                              `[]`,
		`{"a":[],"b":{}}`:                 `{a: [],b: {}}`,
		`{"a":1,"b":-0.5,"c":true}`:       `{a: 1,b: -0.5,c: true}`,
		`["5s","0.100s","10.0.0.1"]`:      `[5s,0.100s,10.0.0.1]`,
		`["1","y","No","off","null",""]`:  `["1","y","No","off","null",""]`,
		`["a: b","a #b","a,b","*","%A%"]`: `["a: b","a #b","a,b","*","%A%"]`,
		`["spiffe://a.b/c","@type"]`:      `[spiffe://a.b/c,"@type"]`,
		`["it's","\\.x","\"","\\'"]`:      `["it's",'\.x','"',"\\'"]`,
		`["ü","\u0001\n","😀"]`:            `["\u00fc","\u0001\u000a","\U0001f600"]`,
		`["repeatedly","repeatedly"]`:     `[&a repeatedly,*a]`,
		`["repeated","repeated"]`:         `[repeated,repeated]`,
		`["short","short","short","short","short","short"]`:                        `[&a short,*a,*a,*a,*a,*a]`,
		`{"a":{"x":"12345678"},"b":{"x":"12345678"},"c":"12345678"}`:               `{a: &a {x: &b "12345678"},b: *a,c: *b}`,
		`[["12345678",1],["12345678",1]]`:                                          `[&a ["12345678",1],*a]`,
		`[{"repeatedly":1},{"repeatedly":2},"repeatedly"]`:                         `[{&a repeatedly: 1},{*a : 2},*a]`,
		`[{"@type":1},{"@type":2},{"@type":3}]`:                                    `[{&a "@type": 1},{*a : 2},{*a : 3}]`,
		`["repeatedly","repeatedly","a longer one","a longer one","a longer one"]`: `[&b repeatedly,*b,&a a longer one,*a,*a]`,
	} {
		if got := short(in); got != want {
			t.Errorf("%s: expected %s, got %s", in, want, got)
		}
	}
	for n, want := range map[int]string{0: "a", 26: "A", 61: "9", 62: "aa", 123: "a9", 124: "ba", 3905: "99", 3906: "aaa"} {
		if got := anchorName(n); got != want {
			t.Errorf("%d: expected %s, got %s", n, want, got)
		}
	}
}

// What is written comes back, from two readers.
func FuzzShort(f *testing.F) {
	f.Add(`a "quoted" \ 'string' `, "key: x", 7)
	f.Add("off", "@type", -1)
	f.Add("\u2028\u00ff\x00", "0x10", 0)
	f.Add("spiffe://example.org/a", "1e3", 1)
	f.Fuzz(func(t *testing.T, text, key string, number int) {
		if max(len(text), len(key)) > 150 {
			t.Skip() // YAML ends keys after 1,024 characters, and one can become six
		}
		in, err := json.Marshal(map[string]any{
			key: []any{text, number, map[string]any{text: key, "x": text}, map[string]any{text: key, "x": text}},
			"":  text,
		})
		if err != nil {
			t.Skip()
		}
		out := short(string(in))
		if back, err := layout.JSON([]byte(out)); err != nil || !sameJSON(t, in, back) {
			t.Errorf("%s has become %s, and that %s, %v", in, out, back, err)
		}
		if back, err := yaml.YAMLToJSON([]byte(out)); err != nil || !sameJSON(t, in, back) {
			t.Errorf("%s has become %s, and that %s, %v", in, out, back, err)
		}
	})
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var va, vb any
	if json.Unmarshal(a, &va) != nil || json.Unmarshal(b, &vb) != nil {
		return false
	}
	again, err := json.Marshal(va)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(vb)
	return err == nil && bytes.Equal(again, other)
}
