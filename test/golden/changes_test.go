package golden

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// standardCase is the case that shows all of what injection adds. The others show of that only what differs.
const standardCase = "minimal-pod"

// standardKey stands in the place of name in an item that is as in [standardCase], but for what is written beside it.
const standardKey = "standard"

// standards are the items that [standardCase] has and its pod had not, by the list that they are in, and their name.
type standards map[string]map[string]any

// changes is what a value says that another, before, did not: null where a field is gone, as in a JSON merge patch. A
// list whose items have names lists all of them in order, each with its name and its own changes. Any other list that
// changed is as it is now.
func (s standards) changes(list string, before, after any) any {
	switch after := after.(type) {
	case map[string]any:
		before, _ := before.(map[string]any)
		out := map[string]any{}
		for key := range before {
			if _, ok := after[key]; !ok {
				out[key] = nil
			}
		}
		for key, value := range after {
			if was, ok := before[key]; !ok || !reflect.DeepEqual(was, value) {
				out[key] = s.changes(key, was, value)
			}
		}
		return out
	case []any:
		was, ok := byName(before)
		if _, all := byName(after); !ok || !all {
			return after
		}
		out := []any{}
		for _, item := range after {
			name := item.(map[string]any)["name"].(string)
			key, base := "name", was[name]
			if base == nil && s[list][name] != nil {
				key, base = standardKey, s[list][name]
			}
			change := s.changes("", base, item).(map[string]any)
			delete(change, "name")
			change[key] = name
			out = append(out, change)
		}
		return out
	}
	return after
}

// restored is the value that the changes were made of.
func (s standards) restored(list string, before, change any) any {
	switch change := change.(type) {
	case map[string]any:
		out := map[string]any{}
		was, _ := before.(map[string]any)
		maps.Copy(out, was)
		for key, value := range change {
			if out[key] = s.restored(key, was[key], value); value == nil {
				delete(out, key)
			}
		}
		return out
	case []any:
		was, ok := byName(before)
		if _, all := byName(change); !ok || !all {
			return change
		}
		out := []any{}
		for _, item := range change {
			item := maps.Clone(item.(map[string]any))
			base := was[nameOf(item)]
			if name, ok := item[standardKey].(string); ok {
				base = s[list][name]
				delete(item, standardKey)
			}
			out = append(out, s.restored("", base, item))
		}
		return out
	}
	return change
}

// byName finds the items of a list by their names. It is not ok if one has none, or two have the same.
func byName(list any) (items map[string]any, ok bool) {
	all, _ := list.([]any) // a list that is not there has no items
	items = map[string]any{}
	for _, item := range all {
		item, _ := item.(map[string]any)
		name := nameOf(item)
		if name == "" || items[name] != nil {
			return nil, false
		}
		items[name] = item
	}
	return items, true
}

func nameOf(item map[string]any) string {
	for _, key := range []string{"name", standardKey} {
		if name, ok := item[key].(string); ok {
			return name
		}
	}
	return ""
}

// readStandards injects [standardCase].
func readStandards(t *testing.T, cases []Case) standards {
	t.Helper()
	i := slices.IndexFunc(cases, func(c Case) bool { return c.Name == standardCase })
	if i < 0 {
		t.Fatalf("no case %s", standardCase)
	}
	in := cases[i].input(t)
	res, err := in.injector.Inject(in.namespace, in.pod)
	must(t, err)
	out := standards{}
	for list, items := range asMap(t, res.Pod)["spec"].(map[string]any) {
		was, _ := byName(asMap(t, in.pod)["spec"].(map[string]any)[list])
		if named, ok := byName(items); ok && len(named) > len(was) {
			out[list] = named
			maps.DeleteFunc(named, func(name string, _ any) bool { return was[name] != nil })
		}
	}
	return out
}

func TestChanges(t *testing.T) {
	s := standards{"volumes": {"v": map[string]any{"name": "v", "a": "1", "b": "2"}}}
	decode := func(text string) (out any) {
		mustUnmarshal(t, []byte(text), &out)
		return out
	}
	for name, test := range map[string]struct{ before, after, want string }{
		"nothing":         {`{a: 1}`, `{a: 1}`, `{}`},
		"fields":          {`{a: 1, b: 2, c: 3}`, `{a: 1, c: 4, d: 5}`, `{b: null, c: 4, d: 5}`},
		"deep":            {`{a: {b: 1, c: 2}}`, `{a: {b: 1, c: 3}}`, `{a: {c: 3}}`},
		"of another type": {`{a: {b: 1}, c: 1}`, `{a: 1, c: {}}`, `{a: 1, c: {}}`},
		"an item": {
			`{l: [{name: x}, {name: w, a: 1, b: 2}]}`,
			`{l: [{name: x}, {name: w, a: 2}]}`,
			`{l: [{name: x}, {name: w, a: 2, b: null}]}`,
		},
		"items and their order": {
			`{l: [{name: x, a: 1}, {name: w, a: 1}]}`,
			`{l: [{name: w, a: 1}, {name: z, a: 1}]}`,
			`{l: [{name: w}, {name: z, a: 1}]}`,
		},
		"no names": {`{l: [{a: 1}, {a: 2}]}`, `{l: [{a: 1}, {a: 3}]}`, `{l: [{a: 1}, {a: 3}]}`},
		"one name twice now": {
			`{l: [{name: x, a: 1}]}`,
			`{l: [{name: x, a: 1}, {name: x, a: 2}]}`,
			`{l: [{name: x, a: 1}, {name: x, a: 2}]}`,
		},
		"one name twice before": {
			`{l: [{name: x, a: 1}, {name: x, a: 2}]}`,
			`{l: [{name: x, a: 1}]}`,
			`{l: [{name: x, a: 1}]}`,
		},
		"standard": {
			`{}`,
			`{volumes: [{name: v, a: "1", b: "2"}, {name: w}]}`,
			`{volumes: [{standard: v}, {name: w}]}`,
		},
		"not quite": {
			`{volumes: []}`,
			`{volumes: [{name: v, a: "1", c: "3"}]}`,
			`{volumes: [{standard: v, b: null, c: "3"}]}`,
		},
		"the user's own": {
			`{volumes: [{name: v}]}`,
			`{volumes: [{name: v, a: "1", b: "2"}]}`,
			`{volumes: [{name: v, a: "1", b: "2"}]}`,
		},
		"that of another list":   {`{}`, `{mounts: [{name: v, a: "1"}]}`, `{mounts: [{name: v, a: "1"}]}`},
		"all items of a list":    {`{l: [{name: x}]}`, `{l: []}`, `{l: []}`},
		"a list that is no more": {`{l: [{name: x}]}`, `{}`, `{l: null}`},
	} {
		got := s.changes("", decode(test.before), decode(test.after))
		if diff := cmp.Diff(decode(test.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(decode(test.after), s.restored("", decode(test.before), got)); diff != "" {
			t.Errorf("%s, restored (-want +got):\n%s", name, diff)
		}
	}
}
