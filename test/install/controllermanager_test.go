package install

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kind returns the only object of a kind.
func kind(t *testing.T, objects []unstructured.Unstructured, kind string) map[string]any {
	t.Helper()
	i := slices.IndexFunc(objects, func(o unstructured.Unstructured) bool { return o.GetKind() == kind })
	if i < 0 {
		t.Fatalf("no %s among %d objects", kind, len(objects))
	}
	return objects[i].Object
}

func configOf(t *testing.T, s ControllerManagerSettings) (name string, config map[string]any) {
	t.Helper()
	objects, err := s.objects()
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := unstructured.NestedString(kind(t, objects, "ConfigMap"), "data", "config.json")
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	volumes, _, _ := unstructured.NestedSlice(kind(t, objects, "Deployment"), "spec", "template", "spec", "volumes")
	read, _, _ := unstructured.NestedString(volumes[0].(map[string]any), "configMap", "name")
	made, _, _ := unstructured.NestedString(kind(t, objects, "ConfigMap"), "metadata", "name")
	if read != made {
		t.Errorf("the Deployment reads %s, and the ConfigMap is %s", read, made)
	}
	return made, config
}

// To have no prefix, no clean-up and a clean-up of what has no prefix are three different things.
func TestControllerManagerSettings(t *testing.T) {
	names := map[string]bool{}
	for _, tt := range []struct {
		settings         ControllerManagerSettings
		prefix, cleanup  any
		wantNanoseconds  float64
		wantFurtherFlags int
	}{
		{ControllerManagerSettings{}, nil, nil, 0, 0},
		{ControllerManagerSettings{EntryIDPrefix: "a", GCInterval: 2 * time.Second}, "a", nil, 2e9, 0},
		{ControllerManagerSettings{EntryIDPrefix: "a", EntryIDPrefixCleanup: new("")}, "a", "", 0, 0},
		{ControllerManagerSettings{EntryIDPrefix: "a", EntryIDPrefixCleanup: new("b"), LogPasses: true}, "a", "b", 0, 1},
	} {
		name, config := configOf(t, tt.settings)
		if config["entryIDPrefix"] != tt.prefix || config["entryIDPrefixCleanup"] != tt.cleanup || config["gcInterval"] != tt.wantNanoseconds {
			t.Errorf("%+v: got %v", tt.settings, config)
		}
		if names[name] {
			t.Errorf("%+v: the name %s is that of other settings", tt.settings, name)
		}
		names[name] = true
		objects, err := tt.settings.objects()
		if err != nil {
			t.Fatal(err)
		}
		containers, _, _ := unstructured.NestedSlice(kind(t, objects, "Deployment"), "spec", "template", "spec", "containers")
		if args := containers[0].(map[string]any)["args"].([]any); len(args) != 2+tt.wantFurtherFlags {
			t.Errorf("%+v: got arguments %v", tt.settings, args)
		}
	}
}
