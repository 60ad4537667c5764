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
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/offline"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

var update = flag.Bool("update", false, "rewrite what the cases want")

func TestCorpus(t *testing.T) {
	t.Parallel()
	cases, err := Read("cases")
	if err != nil {
		t.Fatal(err)
	}
	s := readStandards(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			got := run(t, c, s)
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

// run sends a case through the function, the webhooks and the command, checks that they agree, and renders the result.
func run(t *testing.T, c Case, s standards) map[string]string {
	t.Helper()
	in := c.input(t)
	untouched := in.pod.DeepCopy()
	var asked []generated
	recording := in.injector
	recording.Generate = func(p ir.Proxy) (templates.Config, error) {
		config, err := templates.Generate(p)
		asked = append(asked, generated{p, config})
		return config, err
	}
	res, err := recording.Inject(in.namespace, in.pod)
	if diff := cmp.Diff(untouched, in.pod); diff != "" {
		t.Errorf("Inject changed its argument:\n%s", diff)
	}
	answer, registered := in.post(t)
	namespace, yamlErr := yaml.YAMLToJSON(c.Namespace)
	if yamlErr != nil {
		t.Fatal(yamlErr)
	}
	out, commandErr := offline.Inject(in.injector, "other", slices.Concat(
		merge(t, namespace, `{"apiVersion": "v1", "kind": "Namespace"}`), []byte("\n---\n"), in.manifest(t), []byte("\n"), in.services))

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
	printed := bytes.Split(out.Manifests, []byte("---\n"))[1]
	agree(t, "the command's output", printed, res.Pod)
	switch {
	case !answer.Allowed && c.SPIRE == "":
		t.Fatalf("the function accepts the pod, the webhook does not: %s", answer.Result.Message)
	case !answer.Allowed:
		if len(answer.Patch) > 0 {
			t.Errorf("the webhook denies the pod with a patch of %d bytes", len(answer.Patch))
		}
		return map[string]string{"denial.txt": fmt.Sprintf("%d %s\n", answer.Result.Code, answer.Result.Message)}
	case c.SPIRE != "":
		var err error
		res, err = inject.Deferred(res)
		must(t, err)
		res.Reason = reason.RegistrationDeferred
	}
	patched := apply(t, in.raw, answer.Patch)
	agree(t, "the webhook's patch", patched, res.Pod)
	if c.SPIRE == "" {
		agreeInFull(t, patched, printed)
	}
	if diff := cmp.Diff(res.Workloads, registered, cmpopts.EquateComparable(spiffeid.ID{}, spiffeid.TrustDomain{})); diff != "" {
		t.Errorf("registered by the webhook (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(res.Workloads, out.Workloads, cmpopts.EquateComparable(spiffeid.ID{}, spiffeid.TrustDomain{})); diff != "" {
		t.Errorf("the command's workloads (-want +got):\n%s", diff)
	}
	if len(answer.Patch) == 0 {
		return map[string]string{"unchanged.txt": string(res.Reason) + "\n"}
	}
	in.again(t, res)
	var entries []registrar.Entry
	if len(res.Workloads) > 0 {
		entries = in.injector.Platform.Cluster.Entries(res.Workloads)
	}
	r := renderer{standards: s, files: map[string]string{"reason.txt": string(res.Reason) + "\n"}}
	if len(answer.Warnings) > 0 {
		r.files["warnings.txt"] = strings.Join(answer.Warnings, "\n") + "\n"
	}
	if answer.Result.Message != string(res.Reason) {
		t.Errorf("the webhook admits the pod for %q, expected %q", answer.Result.Message, res.Reason)
	}
	if c.Name == standardCase {
		r.standards = nil
	}
	r.pod(t, in.raw, patched, asked)
	r.entries(t, entries)
	return r.files
}

// again checks that the result of injection is taken for what it is.
func (in input) again(t *testing.T, res inject.Result) {
	t.Helper()
	again, err := in.injector.Inject(in.namespace, res.Pod)
	if err != nil {
		t.Fatalf("injecting the result again: %v", err)
	}
	if res.Inject && again.Reason != reason.AlreadyInjected {
		t.Errorf("injecting the result again: expected %s, got %s", reason.AlreadyInjected, again.Reason)
	}
	if diff := cmp.Diff(res.Pod, again.Pod); diff != "" {
		t.Errorf("injecting the result again changes it:\n%s", diff)
	}
	if _, err := in.injector.Validate(in.namespace, res.Pod); err != nil {
		t.Errorf("validating the result: %v", err)
	}
}

// post sends the pod as the API server does.
func (in input) post(t *testing.T) (*admissionv1.AdmissionResponse, []registrar.Workload) {
	t.Helper()
	spire := recorder{err: in.spireErr}
	handler := webhook.Reviews{Webhook: &admission.Webhook{Handler: &webhook.Handler{
		Injector: func() inject.Injector { return in.injector }, Registrar: &spire, Namespaces: oneNamespace(in.namespace),
	}}}
	review := admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{
		UID: "1", Operation: admissionv1.Create, Namespace: in.namespace.Name, Object: runtime.RawExtension{Raw: in.raw},
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

type recorder struct {
	workloads []registrar.Workload
	err       error // instead of registering
}

func (r *recorder) Ensure(_ context.Context, workloads []registrar.Workload) ([]string, error) {
	r.workloads = append(r.workloads, workloads...)
	return make([]string, len(workloads)), r.err
}

type oneNamespace intent.Namespace

func (n oneNamespace) Namespace(_ context.Context, name string) (intent.Namespace, error) {
	if name != n.Name {
		return intent.Namespace{}, fmt.Errorf("asked for namespace %q, there is only %q", name, n.Name)
	}
	return intent.Namespace(n), nil
}

func (n oneNamespace) Live(ctx context.Context, name string) (intent.Namespace, error) {
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

// agreeInFull compares what our API version does not know, too.
func agreeInFull(t *testing.T, patched, printed []byte) {
	t.Helper()
	var a, b map[string]any
	mustUnmarshal(t, patched, &a)
	mustUnmarshal(t, printed, &b)
	for _, object := range []map[string]any{a, b} {
		delete(object, "apiVersion")
		delete(object, "kind")
		delete(object["metadata"].(map[string]any), "namespace")
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the webhook and the command differ in fields that are not of our API version (-webhook +command):\n%s", diff)
	}
}

func refusal(t *testing.T, err error) string {
	t.Helper()
	var r *intent.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("expected a refusal, got %v", err)
	}
	lines := []string{string(r.Reason)}
	for _, m := range r.Mistakes {
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "\n") + "\n"
}
