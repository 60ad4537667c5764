package layout

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestYAML(t *testing.T) {
	long := strings.Repeat("wide", 20)
	for name, test := range map[string]struct{ in, want string }{
		"order": {`{"b":1,"a":{"d":true,"c":null}}`, "{b: 1, a: {d: true, c: null}}\n"},
		"empty": {`{}`, "{}\n"},
		"strings": {
			`["1","1.5","true","No","null","","a: b","x","*","--a","0.1s","it's"]`,
			`["1", "1.5", "true", "No", "null", "", "a: b", x, "*", --a, 0.1s, "it's"]` + "\n",
		},
		"mapping": {`{"a":{"` + long + `":{},"x":"` + long + `"}}`, "a:\n  " + long + ": {}\n  x: " + long + "\n"},
		"scalars": {
			`{"a":{"` + long + `":1,"b":2,"c":3,"d":4,"e":5,"x":"` + long + `"}}`,
			"a: {" + long + ": 1, b: 2, c: 3, d: 4, e: 5,\n    x: " + long + "}\n",
		},
		"sequence": {`{"a":[{"b":"` + long + `"},{"b":"` + long + `"}]}`, "a:\n- {b: " + long + "}\n- {b: " + long + "}\n"},
		"nested":   {`[[{"a":"` + long + `","b":["` + long + `"]}]]`, "- - a: " + long + "\n    b: [" + long + "]\n"},
		"list":     {`{"a":["` + long + `","b","` + long + `"]}`, "a: [" + long + ", b,\n  " + long + "]\n"},
		"long string": {
			`{"a":"` + long + " " + long + ` "}`,
			"a: \"" + long + " " + long[:65] + "\\\n  " + long[65:] + " \"\n",
		},
	} {
		got, err := YAML([]byte(test.in))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v, got\n%s, want\n%s", name, err, got, test.want)
		}
		if again, err := JSON(got); err != nil || string(again) != test.in {
			t.Errorf("%s: %v, expected %s back, got %s", name, err, test.in, again)
		}
	}
	for _, in := range []string{"", "{", "a: b: c"} {
		if out, err := YAML([]byte(in)); err == nil {
			t.Errorf("%q was laid out as %q", in, out)
		}
	}
}

// What is laid out comes back, from the parser of Kubernetes too.
func FuzzYAML(f *testing.F) {
	f.Add(`a "quoted" \ string `, "key: x", 7.5)
	f.Add(strings.Repeat(`\ `, 200), "-", 1e30)
	f.Add(strings.Repeat(" ", 200), strings.Repeat(`\`, 200), 0.)
	f.Fuzz(func(t *testing.T, text, key string, number float64) {
		in, err := json.Marshal(map[string]any{
			key: []any{text, number, map[string]any{text: key}},
			"":  strings.Repeat(text, 3),
		})
		if err != nil {
			t.Skip()
		}
		out, err := YAML(in)
		if err != nil {
			return // control characters, which YAML has not
		}
		var want, got any
		converted, err := yaml.YAMLToJSON(out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if json.Unmarshal(in, &want) != nil || json.Unmarshal(converted, &got) != nil {
			t.Fatal("no JSON")
		}
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		if !bytes.Equal(a, b) {
			t.Errorf("%s has become %s", a, b)
		}
	})
}
