package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// workloadOf wraps a pod into an object of a kind.
func workloadOf(t *testing.T, kind string, pod *corev1.Pod) admission.Request {
	t.Helper()
	group, version := "", "v1"
	parts := strings.Split(kind, "/")
	if len(parts) == 3 {
		group = parts[0]
	}
	var object any = map[string]any{"metadata": pod.ObjectMeta, "spec": pod.Spec}
	pointer, _ := inject.PodPointer(kind)
	for _, key := range slices.Backward(strings.Split(pointer, "/")[1:]) {
		object = map[string]any{key: object}
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "demo", Object: runtime.RawExtension{Raw: data},
		Kind: metav1.GroupVersionKind{Group: group, Version: version, Kind: parts[len(parts)-1]},
	}}
}

func askWorkload(t *testing.T, ns intent.Namespace, req admission.Request) admission.Response {
	t.Helper()
	injector := inject.Injector{Platform: webhooktest.Platform(t)}
	v := &WorkloadValidator{
		Injector:   func() inject.Injector { return injector },
		Namespaces: namespaces{cached: ns, live: ns},
	}
	return v.Handle(context.Background(), req)
}

func TestWorkloadsGetTheRefusalOfTheirPods(t *testing.T) {
	good, bad := webhooktest.Server(), webhooktest.Server()
	bad.Annotations[intent.AnnotationAllowedPeers] = "web"
	_, err := inject.Injector{Platform: webhooktest.Platform(t)}.Inject(intent.Namespace{Name: "demo"}, bad)
	if err == nil {
		t.Fatal("the pod is not refused")
	}
	for _, kind := range inject.Kinds() {
		res := askWorkload(t, intent.Namespace{Name: "demo"}, workloadOf(t, kind, bad))
		want := fmt.Sprintf("the pods of this %s would be denied: %v", kind[strings.LastIndex(kind, "/")+1:], err)
		if res.Allowed || res.Result.Code != http.StatusForbidden || res.Result.Message != want {
			t.Errorf("%s: expected code 403 and %q, got %+v", kind, want, res.Result)
		}
		if res := askWorkload(t, intent.Namespace{Name: "demo"}, workloadOf(t, kind, good)); !res.Allowed ||
			len(res.Patch) > 0 {
			t.Errorf("%s: expected it allowed as it is, got %+v", kind, res)
		}
	}
}

// A mistake that is there already must not hinder what has nothing to do with it, such as deletion by finalizers.
func TestWorkloadsAreCheckedWhenTheirTemplateChanges(t *testing.T) {
	bad := webhooktest.Server()
	bad.Annotations[intent.AnnotationAllowedPeers] = "web"
	req := workloadOf(t, "apps/v1/Deployment", bad)
	req.Operation, req.OldObject = admissionv1.Update, req.Object
	if res := askWorkload(t, intent.Namespace{Name: "demo"}, req); !res.Allowed {
		t.Errorf("the same template: %+v", res.Result)
	}
	req.OldObject = workloadOf(t, "apps/v1/Deployment", webhooktest.Server()).Object
	if res := askWorkload(t, intent.Namespace{Name: "demo"}, req); res.Allowed {
		t.Error("a new template: expected a refusal")
	}
}

func TestWorkloadsFollowTheirNamespace(t *testing.T) {
	unlabelled := webhooktest.Server()
	delete(unlabelled.Labels, intent.LabelInject)
	unlabelled.Annotations = map[string]string{}
	tests := []struct {
		namespace string
		want      bool
	}{{"", true}, {intent.InjectDisabled, true}, {intent.InjectEnabled, false}, {intent.InjectRequired, false}}
	for _, test := range tests {
		ns := intent.Namespace{Name: "demo"}
		if test.namespace != "" {
			ns.Labels = map[string]string{intent.LabelInject: test.namespace}
		}
		if res := askWorkload(t, ns, workloadOf(t, "apps/v1/Deployment", unlabelled)); res.Allowed != test.want {
			t.Errorf("namespace %q: expected allowed=%t, got %+v", test.namespace, test.want, res)
		}
	}
}

// The author of a Deployment sees warnings, and nobody sees those of a pod that a ReplicaSet makes.
func TestWorkloadsWarn(t *testing.T) {
	shared := webhooktest.Server()
	shared.Spec.ShareProcessNamespace = new(true)
	res := askWorkload(t, intent.Namespace{Name: "demo"}, workloadOf(t, "apps/v1/Deployment", shared))
	if !res.Allowed || len(res.Warnings) != 1 || !strings.HasPrefix(res.Warnings[0], "spec.shareProcessNamespace: ") {
		t.Errorf("expected it allowed with a warning, got %+v", res)
	}
}

func TestWorkloadThatIsNone(t *testing.T) {
	deployment := func(object string) admission.Request {
		return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create,
			Namespace: "demo",
			Object:    runtime.RawExtension{Raw: []byte(object)},
			Kind:      metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"},
		}}
	}
	for want, req := range map[string]admission.Request{
		"expected a kind that has pods, got v1/Service":                    workloadOf(t, "v1/Service", webhooktest.Server()),
		"apps/v1/Deployment: expected a pod template at /spec/template":    deployment(`{"spec":{}}`),
		"apps/v1/Deployment: expected a pod template at /spec/template, g": deployment(`{"spec":{"template":7}}`),
	} {
		// No denial: such an object is admitted, because the webhook is registered with failurePolicy Ignore.
		if res := askWorkload(t, intent.Namespace{Name: "demo"}, req); res.Allowed ||
			res.Result.Code != http.StatusInternalServerError ||
			!strings.Contains(res.Result.Message, want) {
			t.Errorf("expected code 500 and %q, got %+v", want, res.Result)
		}
	}
}
