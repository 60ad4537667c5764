package intent

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// platformObject is a platform file as the tests change it.
func platformObject(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestEveryRowOfThePlatformFileIsWhole(t *testing.T) {
	for path, f := range everyField(platformFields, "") {
		if (f.standard == "") == (f.without == "") {
			t.Errorf("%s: expected either a value or words for a file without it, got %q and %q", path, f.standard, f.without)
		}
		if (f.parse == nil) == (f.fields == nil) {
			t.Errorf("%s: expected either a parser or fields", path)
		}
	}
}

// A file without one of its fields is another platform, or no platform: each row is read, and into something of its
// own.
func TestEveryFieldOfThePlatformFileCounts(t *testing.T) {
	var rows []string
	for path, f := range everyField(platformFields, "") {
		if f.parse != nil {
			rows = append(rows, path)
		}
	}
	var written []string
	for _, text := range []string{platformText, platformTextInFull} {
		whole, err := ParsePlatform([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range rows {
			object := platformObject(t, text)
			if !remove(object, strings.Split(path, ".")) {
				continue
			}
			written = append(written, path)
			without, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := ParsePlatform(without); err == nil && reflect.DeepEqual(p, whole) {
				t.Errorf("%s: a file without it is the same platform", path)
			}
		}
	}
	slices.Sort(rows)
	slices.Sort(written)
	if diff := cmp.Diff(rows, slices.Compact(written)); diff != "" {
		t.Errorf("fields (-table +files of the test):\n%s", diff)
	}
}

// remove takes a field out of an object, or out of all items of a list, and says whether it was there.
func remove(in any, path []string) bool {
	switch in := in.(type) {
	case []any:
		found := false
		for _, item := range in {
			found = remove(item, path) || found
		}
		return found
	case map[string]any:
		if len(path) > 1 {
			return remove(in[path[0]], path[1:])
		}
		_, found := in[path[0]]
		delete(in, path[0])
		return found
	}
	return false
}

// Every field of Platform is one that a file can set.
func TestEveryFieldOfPlatformIsInTheFile(t *testing.T) {
	full, err := ParsePlatform([]byte(platformTextInFull))
	if err != nil {
		t.Fatal(err)
	}
	// The one is refused beside the other, and the latter is what 0s writes.
	unset := unsetFields(reflect.ValueOf(full), "")
	if diff := cmp.Diff([]string{"AgentSocket.HostPath", "Drain"}, unset); diff != "" {
		t.Errorf("fields of Platform that the file in full leaves zero (-want +got):\n%s", diff)
	}
}

// unsetFields are the exported fields that are zero, in items of lists those that are zero in all of them.
func unsetFields(v reflect.Value, path string) []string {
	isOurs := strings.HasPrefix(v.Type().PkgPath(), "github.com/spire-injector/")
	switch {
	case v.IsZero():
		return []string{path}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		count := map[string]int{}
		for i := range v.Len() {
			for _, unset := range unsetFields(v.Index(i), path) {
				count[unset]++
			}
		}
		maps.DeleteFunc(count, func(_ string, n int) bool { return n < v.Len() })
		return slices.Sorted(maps.Keys(count))
	case v.Kind() != reflect.Struct || !isOurs:
		return nil
	}
	var unset []string
	for field, value := range v.Fields() {
		if field.IsExported() {
			unset = append(unset, unsetFields(value, strings.TrimPrefix(path+"."+field.Name, "."))...)
		}
	}
	return unset
}

func TestOnlySectionsThatAreAlwaysReadAreRequired(t *testing.T) {
	inner := []platformField{{name: "inner", without: required, schema: stringSchema}}
	for _, test := range []struct {
		field platformField
		want  bool
	}{
		{platformField{fields: inner}, true},
		{platformField{fields: inner, optional: true}, false},
		{platformField{fields: inner, item: func(*Platform) {}}, false},
		{inner[0], true},
		{platformField{without: "none"}, false},
	} {
		if got := test.field.isRequired(); got != test.want {
			t.Errorf("%+v: expected required %t, got %t", test.field, test.want, got)
		}
	}
}

// What is required in the schema of the chart is what a file is refused without.
func TestPlatformSchema(t *testing.T) {
	text, err := json.Marshal(PlatformSchema())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		AdditionalProperties *bool
		Required             []string
		Properties           map[string]struct {
			Required []string
			Enum     []string
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"trustDomain", "clusterName", "spire", "sidecar"}, got.Required); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"server", "agentSocket"}, got.Properties["spire"].Required); diff != "" {
		t.Errorf("required of spire (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"image"}, got.Properties["sidecar"].Required); diff != "" {
		t.Errorf("required of sidecar (-want +got):\n%s", diff)
	}
	if unknown := got.AdditionalProperties; unknown == nil || *unknown {
		t.Error("expected unknown fields to be refused")
	}
	for _, name := range []string{"apiVersion", "kind"} {
		if _, there := got.Properties[name]; there {
			t.Errorf("%s: expected it to be written by the chart", name)
		}
	}
}
