package webhook

import (
	"context"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// running is a pod as it is after injection.
func running(t *testing.T, i inject.Injector) *corev1.Pod {
	t.Helper()
	res, err := i.Inject(intent.Namespace{Name: "demo"}, webhooktest.Server())
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}

func TestValidatorAnswers(t *testing.T) {
	injector := inject.Injector{Platform: webhooktest.Platform(t)}
	v := &Validator{
		Injector:   func() inject.Injector { return injector },
		Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}, live: intent.Namespace{Name: "demo"}},
	}
	good := running(t, injector)
	bad := good.DeepCopy()
	bad.Labels[intent.LabelIdentity] = "another"
	create := func(pod *corev1.Pod) admission.Request {
		return admission.Request{
			AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Create,
				Namespace: "demo",
				Object:    raw(t, pod),
			},
		}
	}
	update := create(bad)
	update.Operation, update.OldObject = admissionv1.Update, raw(t, good)

	if res := v.Handle(context.Background(), create(good)); !res.Allowed || len(res.Patch) > 0 {
		t.Errorf("an injected pod: expected it allowed without a patch, got %+v", res)
	}
	// A running pod is compared with itself, not with what it would become now.
	same := create(good)
	same.Operation, same.OldObject = admissionv1.Update, raw(t, good)
	injector.Platform.Sidecar.Image = "newer"
	if res := v.Handle(context.Background(), same); !res.Allowed {
		t.Errorf("a running pod of an older platform: expected it allowed, got %+v", res.Result)
	}
	injector.Platform.Sidecar.Image = webhooktest.Platform(t).Sidecar.Image
	for name, req := range map[string]admission.Request{"create": create(bad), "update": update} {
		res := v.Handle(context.Background(), req)
		if res.Allowed || res.Result.Code != http.StatusForbidden ||
			!strings.Contains(res.Result.Message, intent.LabelIdentity) {
			t.Errorf("%s: expected a refusal that names the label, got %+v", name, res)
		}
	}
	// The mutating webhook would answer this change with another configuration, which is not there.
	unanswered := good.DeepCopy()
	unanswered.Annotations[intent.AnnotationAllowedPeers] = "/other"
	half := create(unanswered)
	half.Operation, half.OldObject = admissionv1.Update, raw(t, good)
	res := v.Handle(context.Background(), half)
	if res.Allowed || !strings.Contains(res.Result.Message, intent.AnnotationListeners) {
		t.Errorf("peers without their configuration: expected a denial that names the listeners, got %+v", res)
	}
}
