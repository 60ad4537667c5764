package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/offline"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook"
)

var update = flag.Bool("update", false, "rewrite what the cases want")

func TestCorpus(t *testing.T) {
	cases, err := Read("cases")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			got := run(t, c)
			if *update {
				if err := c.Write(got); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(c.Want, got); diff != "" {
				t.Errorf("the result is not the one in the file; if it is right, run the test with -update (-want +got):\n%s", diff)
			}
		})
	}
}

// run sends a case through the function, the webhook and the command, checks that they agree, and renders the result.
func run(t *testing.T, c Case) map[string]string {
	t.Helper()
	platform, err := webhook.ParsePlatform(c.Platform)
	if err != nil {
		t.Fatalf("platform.yaml: %v", err)
	}
	injector := webhook.Injector{Platform: platform, Version: "test"}
	var object corev1.Namespace
	mustUnmarshal(t, c.Namespace, &object)
	ns := webhook.Namespace{Name: object.Name, Labels: object.Labels, Annotations: object.Annotations}
	var pod corev1.Pod
	mustUnmarshal(t, c.Pod, &pod)
	raw, err := yaml.YAMLToJSON(c.Pod)
	if err != nil {
		t.Fatal(err)
	}

	untouched := pod.DeepCopy()
	res, err := injector.Inject(ns, &pod)
	if diff := cmp.Diff(untouched, &pod); diff != "" {
		t.Errorf("Inject changed its argument:\n%s", diff)
	}
	answer, registered := post(t, injector, ns, raw)
	out, commandErr := offline.Inject(injector, "other", []byte(
		merge(t, c.Namespace, `{"apiVersion": "v1", "kind": "Namespace"}`)+"---\n"+
			merge(t, c.Pod, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": %q}}`, ns.Name))))

	if err != nil {
		if answer.Allowed || len(answer.Patch) > 0 || len(registered) > 0 {
			t.Errorf("the function refuses the pod, but the webhook: allowed=%t, patch of %d bytes, registered %d", answer.Allowed, len(answer.Patch), len(registered))
		}
		if answer.Result.Message != err.Error() {
			t.Errorf("the webhook says %q, the function %q", answer.Result.Message, err)
		}
		if commandErr == nil || len(out.Manifests) > 0 {
			t.Errorf("the function refuses the pod, but the command printed %q", out.Manifests)
		}
		return map[string]string{"refusal.txt": refusal(t, err)}
	}
	if commandErr != nil {
		t.Fatalf("the function accepts the pod, the command does not: %v", commandErr)
	}
	if !answer.Allowed {
		t.Fatalf("the function accepts the pod, the webhook does not: %s", answer.Result.Message)
	}
	patched := apply(t, raw, answer.Patch)
	agree(t, "the webhook's patch", patched, res.Pod)
	printed := bytes.Split(out.Manifests, []byte("---\n"))[1]
	agree(t, "the command's output", printed, res.Pod)
	if !res.Inject {
		if len(answer.Patch) > 0 || len(registered) > 0 {
			t.Errorf("a pod that is left alone: patch %s, registered %v", answer.Patch, registered)
		}
		return map[string]string{"unchanged.txt": string(res.Reason) + "\n"}
	}
	if diff := cmp.Diff(platform.Cluster.Entries(res.Workloads), platform.Cluster.Entries(registered), cmp.Comparer(func(a, b spiffeid.ID) bool { return a == b }), cmp.Comparer(func(a, b spiffeid.TrustDomain) bool { return a == b })); diff != "" {
		t.Errorf("registered by the webhook (-want +got):\n%s", diff)
	}
	again, err := injector.Inject(ns, res.Pod)
	if err != nil {
		t.Fatalf("injecting the result again: %v", err)
	}
	if again.Reason != webhook.ReasonAlreadyInjected {
		t.Errorf("injecting the result again: expected %s, got %s", webhook.ReasonAlreadyInjected, again.Reason)
	}
	if diff := cmp.Diff(res.Pod, again.Pod); diff != "" {
		t.Errorf("injecting the result again changes it:\n%s", diff)
	}
	return render(t, string(res.Reason), patched, platform.Cluster.Entries(res.Workloads))
}

// post sends the pod as the API server does.
func post(t *testing.T, injector webhook.Injector, ns webhook.Namespace, pod []byte) (*admissionv1.AdmissionResponse, []registrar.Workload) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var spire recorder
	handler := &admission.Webhook{Handler: &webhook.Handler{
		Injector: func() webhook.Injector { return injector }, Registrar: &spire, Namespaces: oneNamespace(ns), Decoder: admission.NewDecoder(scheme),
	}}
	review := admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{
		UID: "1", Operation: admissionv1.Create, Namespace: ns.Name, Object: runtime.RawExtension{Raw: pod},
	}}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/mutate-pod", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Response == nil {
		t.Fatalf("expected an AdmissionReview, got %s (%v)", recorder.Body, err)
	}
	return answer.Response, spire.workloads
}

type recorder struct{ workloads []registrar.Workload }

func (r *recorder) Ensure(_ context.Context, w registrar.Workload) (string, error) {
	r.workloads = append(r.workloads, w)
	return "entry", nil
}

type oneNamespace webhook.Namespace

func (n oneNamespace) Namespace(_ context.Context, name string) (webhook.Namespace, error) {
	if name != n.Name {
		return webhook.Namespace{}, fmt.Errorf("asked for namespace %q, there is only %q", name, n.Name)
	}
	return webhook.Namespace(n), nil
}

func (n oneNamespace) Live(ctx context.Context, name string) (webhook.Namespace, error) {
	return n.Namespace(ctx, name)
}

func apply(t *testing.T, object, patch []byte) []byte {
	t.Helper()
	if len(patch) == 0 {
		return object
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Apply(object)
	if err != nil {
		t.Fatalf("applying %s: %v", patch, err)
	}
	return out
}

// agree checks a pod in YAML or JSON against the function's result, in the namespace or without.
func agree(t *testing.T, what string, data []byte, want *corev1.Pod) {
	t.Helper()
	var got corev1.Pod
	mustUnmarshal(t, data, &got)
	got.TypeMeta = want.TypeMeta // the command needs it, a case need not have it
	if want.Namespace == "" {
		got.Namespace = ""
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("%s is not what the function returns (-function +other):\n%s", what, diff)
	}
}

// merge completes an object to what a manifest must have.
func merge(t *testing.T, object []byte, with string) string {
	t.Helper()
	data, err := yaml.YAMLToJSON(object)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonpatch.MergePatch(data, []byte(with))
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

func mustUnmarshal(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("decoding %s: %v", data, err)
	}
}

func refusal(t *testing.T, err error) string {
	t.Helper()
	var r *webhook.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("expected a refusal, got %v", err)
	}
	lines := []string{string(r.Reason)}
	for _, m := range r.Mistakes {
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "\n") + "\n"
}

// render shows a result for people: the pod with each generated document in a file of its own, laid out.
func render(t *testing.T, reason string, pod []byte, entries []registrar.Entry) map[string]string {
	t.Helper()
	out := map[string]string{"reason.txt": reason + "\n"}
	var object map[string]any
	mustUnmarshal(t, pod, &object)
	annotations := object["metadata"].(map[string]any)["annotations"].(map[string]any)
	for _, part := range []string{"bootstrap", "listeners", "clusters", "authorization"} {
		key := webhook.Prefix + "envoy-" + part
		var laidOut bytes.Buffer
		if err := json.Indent(&laidOut, []byte(annotations[key].(string)), "", "  "); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		out["envoy-"+part+".json"] = laidOut.String() + "\n"
		annotations[key] = "see want/envoy-" + part + ".json"
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	out["pod.yaml"] = string(text)
	var list bytes.Buffer
	if err := registrar.EncodeEntries(&list, entries); err != nil {
		t.Fatal(err)
	}
	out["entries.json"] = list.String()
	return out
}
