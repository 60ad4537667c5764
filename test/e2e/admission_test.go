package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// neverScheduled makes a pod that stays as it is admitted.
func neverScheduled(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.NodeSelector = map[string]string{"e2e.example.org/no-such-node": ""}
	return pod
}

// A pod that does not ask is what it would be without us: the same as in a namespace of which the webhook never hears.
func TestPodWithoutLabelIsUntouched(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	admitted := func(namespace string) []byte {
		w := workload{name: "plain", command: []string{"/podtool", "api"}}
		pod := w.pod(namespace)
		pod.Annotations = map[string]string{"spiffe.io/app-port": "8080"} // without the label it is just text
		out, err := shared.k.With(t.Context(), manifest(t, pod), "create", "--dry-run=server", "-o", "json", "-f", "-")
		must(t, err)
		var object map[string]any
		must(t, json.Unmarshal([]byte(out), &object))
		metadata := object["metadata"].(map[string]any)
		for _, own := range []string{"namespace", "uid", "creationTimestamp"} {
			if metadata[own] == nil {
				t.Fatalf("no %s in %s", own, out)
			}
			delete(metadata, own)
		}
		canonical, err := json.Marshal(object)
		must(t, err)
		return canonical
	}
	// The name of the token's volume is random.
	random := func(pod []byte) string {
		_, rest, _ := strings.Cut(string(pod), `"kube-api-access-`)
		name, _, _ := strings.Cut(rest, `"`)
		return strings.ReplaceAll(string(pod), name, "*")
	}
	if diff := cmp.Diff(random(admitted("spire")), random(admitted(ns))); diff != "" {
		t.Errorf("in a namespace that is excluded (-), in one that is not (+):\n%s", diff)
	}
}

func TestDryRunLeavesNoEntry(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod := manifest(t, api(ns, id(ns, "valid")).pod(ns))
	out, err := shared.k.With(t.Context(), pod, "create", "--dry-run=server", "-o", "json", "-f", "-")
	must(t, err)
	if !strings.Contains(out, `"spiffe.io/status"`) {
		t.Errorf("expected the injected pod, got %s", out)
	}
	time.Sleep(2 * time.Second)
	if got := entries(t, id(ns, "api")); len(got) != 0 {
		t.Errorf("expected no entry after a dry run, got %+v", got)
	}
	_, err = shared.k.With(t.Context(), pod, "create", "-f", "-")
	must(t, err)
	if got := entries(t, id(ns, "api")); len(got) != 1 || !strings.HasPrefix(got[0].ID, "spire-injector.demo-cluster.") {
		t.Errorf("expected one entry of ours after the creation, got %+v", got)
	}
}

func TestMistakesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	tests := []struct {
		name        string
		annotations map[string]string
		want        []string
	}{
		{"three mistakes", map[string]string{
			"spiffe.io/spiffe-id": id(ns, "api"), "spiffe.io/app-port": "http", "spiffe.io/alowed-peers": "/web", "spiffe.io/allowed-peers": "spiffe://other.org/web",
		}, []string{"3 mistakes", `spiffe.io/app-port: expected a port from 1 to 65535, got "http"`, `did you mean "spiffe.io/allowed-peers"?`, `expected trust domain "example.org", got "other.org"`}},
		{"an identity without a claim", map[string]string{
			"spiffe.io/spiffe-id": "/api", "spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/web",
		}, []string{"has no claim to spiffe://example.org/api", "identity.claims"}},
		{"SPIRE's own identity", map[string]string{
			"spiffe.io/spiffe-id": "/spire/server", "spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/web",
		}, []string{"is reserved"}},
		{"no peers", map[string]string{
			"spiffe.io/spiffe-id": id(ns, "api"), "spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "",
		}, []string{"expected at least one peer"}},
		{"a ready-made status", map[string]string{
			"spiffe.io/spiffe-id": id(ns, "api"), "spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/web", "spiffe.io/status": "{}",
		}, []string{"Tampered", "annotation spiffe.io/status"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := api(ns, "")
			w.annotations = test.annotations
			message := refused(t, neverScheduled(w.pod(ns)))
			for _, part := range test.want {
				if !strings.Contains(message, part) {
					t.Errorf("expected %q in %s", part, message)
				}
			}
		})
	}
	if got := entries(t, id(ns, "api")); len(got) != 0 {
		t.Errorf("refused pods left the entries %+v", got)
	}
	var pods corev1.PodList
	must(t, shared.k.Get(t.Context(), &pods, "pods", "--namespace", ns))
	if len(pods.Items) != 0 {
		t.Errorf("refused pods exist: %d", len(pods.Items))
	}
}
