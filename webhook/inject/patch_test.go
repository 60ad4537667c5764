package inject

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// A pod comes as the API server's JSON, which may have fields that our API version does not know. The patch must leave
// each of them where it was.
func TestPatchKeepsWhatItDoesNotKnow(t *testing.T) {
	const annotated = `"labels": {"spiffe.io/inject": "enabled"},
		"annotations": {"spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/web"}`
	tests := map[string]string{
		"everywhere": `{"newer": 1, "metadata": {"newer": 2, "name": "a", ` + annotated + `}, "spec": {"newer": 3,
			"initContainers": [{"name": "first", "newer": 4, "resources": {}},
				{"name": "second", "newer": 5, "env": [{"name": "E", "newer": 6}]}],
			"containers": [{"name": "app", "newer": 7, "resources": {}}],
			"volumes": [{"name": "v", "newer": {"kind": 8}}, {"name": "w", "emptyDir": {"newer": 9}}]}}`,
		"no init containers": `{"metadata": {` + annotated + `},
			"spec": {"containers": [{"name": "app", "newer": 1}], "newer": 2}}`,
		"empty init containers": `{"metadata": {` + annotated + `},
			"spec": {"initContainers": [], "volumes": [], "containers": [{"name": "app", "newer": 1}]}}`,
		"lists of null": `{"metadata": {` + annotated + `},
			"spec": {"initContainers": null, "volumes": null, "containers": [{"name": "app", "newer": 1}]}}`,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			injected := injectRaw(t, intent.Namespace{Name: "demo"}, text)
			wantAdded(t, text, injected)
		})
	}
}

// A pod may have no labels or annotations at all when its namespace has them.
func TestPatchOfPodWithoutLabelsAndAnnotations(t *testing.T) {
	ns := intent.Namespace{
		Name:        "demo",
		Labels:      map[string]string{intent.LabelInject: intent.InjectEnabled},
		Annotations: map[string]string{intent.AnnotationAppPort: "8080", intent.AnnotationAllowedPeers: "/web"},
	}
	for _, text := range []string{
		`{"metadata": {}, "spec": {"containers": [{"name": "app"}]}}`,
		`{"metadata": {"labels": null, "annotations": null}, "spec": {"containers": [{"name": "app"}]}}`,
		`{"metadata": {"labels": {}, "annotations": {}}, "spec": {"containers": [{"name": "app"}]}}`,
	} {
		wantAdded(t, text, injectRaw(t, ns, text))
	}
}

// The API server reads whatever is escaped, and no more often than has to be: Envoy's files are full of anchors.
func TestPatchEscapesNothingWithoutNeed(t *testing.T) {
	ops := []Operation{
		{Operation: "add", Path: "/a&b", Value: `&a <"x">`},
		{Operation: "add", Path: "/null"},
		{Operation: "replace", Path: "/empty", Value: ""},
		{Operation: "remove", Path: "/gone"},
	}
	got, err := encodeOperations(ops)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"op":"add","path":"/a&b","value":"&a <\"x\">"},{"op":"add","path":"/null","value":null},` +
		`{"op":"replace","path":"/empty","value":""},{"op":"remove","path":"/gone"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPatchOfUnchangedPodIsEmpty(t *testing.T) {
	if ops := Patch(webhooktest.Server(), webhooktest.Server()); len(ops) > 0 {
		t.Errorf("expected no operations, got %v", ops)
	}
}

// Where our container moves before another one, the fields of that one stay with it.
func TestPatchMovesOurContainers(t *testing.T) {
	const text = `{"spec": {"initContainers": [{"name": "other", "newer": 1}, {"name": "envoy", "image": "e"}, {"name": "last", "newer": 2}]}}`
	const want = `{"spec": {"initContainers": [{"name": "envoy", "image": "e", "resources": {}}, {"name": "other", "newer": 1},
		{"name": "last", "newer": 2}]}}`
	var before corev1.Pod
	if err := json.Unmarshal([]byte(text), &before); err != nil {
		t.Fatal(err)
	}
	after := before.DeepCopy()
	if !oursFirst(after.Spec.InitContainers) {
		t.Fatal("our container is not moved")
	}
	got := applied(t, []byte(text), Patch(&before, after))
	if diff := cmp.Diff(decode(t, []byte(want)), decode(t, got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// injectRaw injects a pod and applies the patch to its JSON, as the API server does.
func injectRaw(t *testing.T, ns intent.Namespace, text string) []byte {
	t.Helper()
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(text), &pod); err != nil {
		t.Fatal(err)
	}
	res, err := Injector{Platform: webhooktest.Platform(t), Version: "test"}.Inject(ns, &pod)
	if err != nil || !res.Inject {
		t.Fatalf("inject=%t, %v", res.Inject, err)
	}
	out := applied(t, []byte(text), Patch(&pod, res.Pod))
	var again corev1.Pod
	if err := json.Unmarshal(out, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asJSON(res.Pod), asJSON(&again)); diff != "" {
		t.Errorf("the patched pod is not the injected one:\n%s", diff)
	}
	return out
}

// applied is an object in JSON after a patch.
func applied(t *testing.T, object []byte, ops []Operation) []byte {
	t.Helper()
	data, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(object)
	if err != nil {
		t.Fatalf("applying %s: %v", data, err)
	}
	return out
}

// wantAdded takes out of the patched JSON what injection adds, by name, and expects the JSON as it was.
func wantAdded(t *testing.T, before string, after []byte) {
	t.Helper()
	want, got := decode(t, []byte(before)), decode(t, after)
	if first := listOf(got, "initContainers")[0].(map[string]any); first["name"] != intent.SidecarName ||
		first["newer"] != nil {
		t.Errorf("expected the sidecar first and as it was made, got %v with newer=%v", first["name"], first["newer"])
	}
	for _, pod := range []map[string]any{want, got} {
		metadata := pod["metadata"].(map[string]any)
		without(metadata, "labels", intent.LabelIdentity)
		without(metadata, "annotations", intent.WrittenByWebhook()...)
		spec := pod["spec"].(map[string]any)
		for _, key := range []string{"initContainers", "volumes"} {
			rest := slices.DeleteFunc(listOf(pod, key), func(item any) bool {
				return slices.Contains([]any{intent.SidecarName, ConfigVolume, SocketVolume}, item.(map[string]any)["name"])
			})
			spec[key] = rest
			if len(rest) == 0 {
				delete(spec, key)
			}
		}
		delete(spec, "terminationGracePeriodSeconds")
		for _, c := range listOf(pod, "containers") {
			delete(c.(map[string]any), "lifecycle")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("beside what injection adds, the pod changed (-before +after):\n%s", diff)
	}
}

func decode(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func listOf(pod map[string]any, key string) []any {
	list, _ := pod["spec"].(map[string]any)[key].([]any)
	return list
}

// without removes keys of a map inside metadata, and the map if nothing is left.
func without(metadata map[string]any, field string, keys ...string) {
	values, _ := metadata[field].(map[string]any)
	for _, key := range keys {
		delete(values, key)
	}
	if len(values) == 0 {
		delete(metadata, field)
	}
}
