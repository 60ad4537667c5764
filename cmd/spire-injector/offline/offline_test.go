package offline

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Documents are in the namespace that they name, or else in the default one, and take its defaults from the input,
// wherever it stands.
func TestNamespaceOfDocuments(t *testing.T) {
	t.Parallel()
	platform, err := intent.ParsePlatform([]byte(platformText))
	if err != nil {
		t.Fatal(err)
	}
	pod := func(metadata string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {spiffe.io/inject: enabled}, annotations: " +
			"{spiffe.io/app-port: \"8080\"}" +
			metadata + "}\nspec: {containers: [{name: app, image: app}]}\n"
	}
	ns := func(name, peer string) string {
		return "apiVersion: v1\nkind: Namespace\n" +
			"metadata: {name: " + name + ", annotations: {spiffe.io/allowed-peers: " + peer + "}}\n"
	}
	input := strings.Join([]string{pod(""), pod(", namespace: other"), ns("usual", "/first"), ns("other", "/second")},
		"---\n")
	out, err := Inject(inject.Injector{Platform: platform, Version: "test"}, "usual", []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, w := range out.Workloads {
		ids = append(ids, w.ID.String())
	}
	want := []string{"spiffe://example.org/ns/usual/sa/default", "spiffe://example.org/ns/other/sa/default"}
	if !slices.Equal(ids, want) {
		t.Errorf("expected %v, got %v", want, ids)
	}
	documents := strings.Split(string(out.Manifests), "---\n")
	if len(documents) != 4 || !strings.Contains(documents[0], "example.org/first") ||
		strings.Contains(documents[0], "example.org/second") ||
		!strings.Contains(documents[1], "example.org/second") ||
		documents[2] != ns("usual", "/first") {
		t.Errorf("got %s", out.Manifests)
	}
}

// One mistake anywhere, and nothing is printed: every document's mistakes are in the error.
func TestNothingIsPrintedBesideMistakes(t *testing.T) {
	t.Parallel()
	const (
		good = "apiVersion: v1\nkind: ConfigMap\n"
		bad  = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {spiffe.io/inject: true}}\n"
	)
	out, err := Inject(inject.Injector{}, "default", []byte(good+"---\n"+bad+"---\n"+strings.ReplaceAll(bad, "p,", "q,")))
	if err == nil || !strings.Contains(err.Error(), "document 2 (Pod p)") ||
		!strings.Contains(err.Error(), "document 3 (Pod q)") {
		t.Errorf("got %v", err)
	}
	if len(out.Manifests)+len(out.Workloads) > 0 {
		t.Errorf("and yet %s", out.Manifests)
	}
}

// Items of a list, which need not say what they are in a typed one, are injected in their place.
func TestItemsOfLists(t *testing.T) {
	t.Parallel()
	platform, err := intent.ParsePlatform([]byte(platformText))
	if err != nil {
		t.Fatal(err)
	}
	const item = "metadata: {name: p, labels: {spiffe.io/inject: enabled}, " +
		"annotations: {spiffe.io/app-port: \"8080\", spiffe.io/allowed-peers: /web}}, " +
		"spec: {containers: [{name: app, image: app}]}"
	for name, input := range map[string]string{
		"typed": "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: plain}, spec: {containers: []}}, {" + item + "}]",
		"any": "apiVersion: v1\nkind: List\n" +
			"items: [{apiVersion: v1, kind: Secret}, {apiVersion: v1, kind: Pod, " + item + "}]",
	} {
		out, err := Inject(inject.Injector{Platform: platform, Version: "test"}, "default", []byte(input))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var list struct{ Items []corev1.Pod }
		if err := yaml.Unmarshal(out.Manifests, &list); err != nil {
			t.Fatal(err)
		}
		if len(out.Workloads) != 1 || len(list.Items) != 2 || len(list.Items[0].Spec.InitContainers) > 0 ||
			len(list.Items[1].Spec.InitContainers) != 1 || list.Items[1].Name != "p" {
			t.Errorf("%s: expected a sidecar in the second pod alone, got %s", name, out.Manifests)
		}
	}
}

func TestTwoObjectsInOneDocument(t *testing.T) {
	t.Parallel()
	_, err := Inject(
		inject.Injector{},
		"default",
		[]byte(`{"apiVersion": "v1", "kind": "ConfigMap"} {"apiVersion": "v1", "kind": "Pod"}`),
	)
	if err == nil || !strings.Contains(err.Error(), "put --- on a line between two objects") {
		t.Errorf("got %v", err)
	}
}

// Services of a pod's namespace say what its app speaks, wherever they stand in the input. All of them pass through, also
// those that nobody understands.
func TestServicesSayWhatAppsSpeak(t *testing.T) {
	t.Parallel()
	platform, err := intent.ParsePlatform([]byte(platformText))
	if err != nil {
		t.Fatal(err)
	}
	const (
		pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {spiffe.io/inject: enabled, app: p}, annotations: " +
			"{spiffe.io/app-port: \"8080\", spiffe.io/allowed-peers: /web}}\nspec: {containers: [{name: app, image: app}]}\n"
		spec    = "spec: {selector: {app: p}, ports: [{port: 8080, appProtocol: grpc}]}"
		service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n" + spec + "\n"
	)
	for text, counts := range map[string]bool{
		service: true,
		"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Service, metadata: {name: s}, " + spec + "}]\n": true,
		"apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: s}, " + spec + "}]\n":                         true,
		strings.Replace(service, "name: s", "name: s, namespace: usual", 1):                                         true,
		strings.Replace(service, "name: s", "name: s, namespace: other", 1):                                         false,
		strings.Replace(service, "8080", "http", 1):                                                                 false,
		"apiVersion: v1\nkind: ServiceList\nitems: none\n":                                                          false,
	} {
		out, err := Inject(inject.Injector{Platform: platform, Version: "test"}, "usual", []byte(pod+"---\n"+text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if told := slices.ContainsFunc(out.Warnings, func(w string) bool { return strings.Contains(w, "speaks grpc") }); told != counts {
			t.Errorf("%s: expected that it counts: %t, got warnings %q", text, counts, out.Warnings)
		}
		if !strings.HasSuffix(string(out.Manifests), "---\n"+text) {
			t.Errorf("%s: got %s", text, out.Manifests)
		}
	}
}
