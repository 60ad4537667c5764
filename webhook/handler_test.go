package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// spire keeps what it is asked to register, by call, and fails with err.
type spire struct {
	err   error
	calls [][]registrar.Workload
}

func (s *spire) Ensure(ctx context.Context, workloads []registrar.Workload) ([]string, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("the wait for SPIRE is not bounded")
	}
	s.calls = append(s.calls, workloads)
	return make([]string, len(workloads)), s.err
}

// namespaces has two views of one namespace.
type namespaces struct {
	cached, live intent.Namespace
	err          error
}

func (n namespaces) Namespace(context.Context, string) (intent.Namespace, error) {
	return n.cached, n.err
}

func (n namespaces) Live(context.Context, string) (intent.Namespace, error) { return n.live, n.err }

func ask(t *testing.T, s *spire, n namespaces, change func(*admission.Request)) admission.Response {
	t.Helper()
	return askOf(t, inject.Injector{Platform: webhooktest.Platform(t)}, s, n, change)
}

func askOf(
	t *testing.T,
	injector inject.Injector,
	s *spire,
	n namespaces,
	change func(*admission.Request),
) admission.Response {
	t.Helper()
	req := admission.Request{
		AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create,
			Namespace: "demo",
			Object:    raw(t, webhooktest.Server()),
		},
	}
	change(&req)
	h := &Handler{
		Injector:   func() inject.Injector { return injector },
		Registrar:  s,
		Namespaces: n,
	}
	return h.Handle(context.Background(), req)
}

func raw(t *testing.T, pod *corev1.Pod) runtime.RawExtension {
	t.Helper()
	data, err := runtimeJSON(pod)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: data}
}

// runtimeJSON is a pod as the API server sends it.
func runtimeJSON(pod *corev1.Pod) ([]byte, error) {
	pod = pod.DeepCopy()
	pod.APIVersion, pod.Kind = "v1", "Pod"
	return json.Marshal(pod)
}

// patched is a pod as it is with an answer's patch.
func patched(t *testing.T, pod *corev1.Pod, res admission.Response) *corev1.Pod {
	t.Helper()
	text, err := runtimeJSON(pod)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(res.Patch)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = patch.Apply(text); err != nil {
		t.Fatal(err)
	}
	var out corev1.Pod
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// operations are those of an answer's patch.
func operations(t *testing.T, res admission.Response) jsonpatch.Patch {
	t.Helper()
	if len(res.Patch) == 0 {
		return nil
	}
	patch, err := jsonpatch.DecodePatch(res.Patch)
	if err != nil {
		t.Fatal(err)
	}
	return patch
}

func as(req *admission.Request) {}

func TestHandlerRegistersBeforeItAdmits(t *testing.T) {
	s := &spire{}
	res := ask(t, s, namespaces{cached: intent.Namespace{Name: "demo"}}, as)
	if !res.Allowed || len(res.Patch) == 0 || len(s.calls) != 1 {
		t.Errorf(
			"allowed=%t patches=%d registered=%d: expected true, some, 1 (%v)",
			res.Allowed,
			len(res.Patch),
			len(s.calls),
			res.Result,
		)
	}
}

// A pod with several identities to register costs one call.
func TestHandlerRegistersAllAtOnce(t *testing.T) {
	s := &spire{}
	res := ask(t, s, namespaces{cached: intent.Namespace{Name: "demo"}}, func(r *admission.Request) {
		pod := webhooktest.Server()
		pod.Annotations[intent.AnnotationMode] = "sidecar,socket"
		pod.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "app"}}
		r.Object = raw(t, pod)
	})
	if !res.Allowed || len(s.calls) != 1 || len(s.calls[0]) != 3 {
		t.Errorf(
			"allowed=%t registered=%v: expected true, and one call for the sidecar and both containers (%v)",
			res.Allowed,
			s.calls,
			res.Result,
		)
	}
}

func TestHandlerRegistersNothingOnDryRun(t *testing.T) {
	s := &spire{}
	res := ask(
		t,
		s,
		namespaces{cached: intent.Namespace{Name: "demo"}},
		func(r *admission.Request) { yes := true; r.DryRun = &yes },
	)
	if !res.Allowed || len(res.Patch) == 0 || len(s.calls) != 0 {
		t.Errorf("allowed=%t patches=%d registered=%d: expected true, some, 0", res.Allowed, len(res.Patch), len(s.calls))
	}
}

func TestHandlerRefusesWhenNotRegistered(t *testing.T) {
	tests := []struct {
		kind   registrar.Kind
		code   int32
		reason reason.Reason
	}{
		{registrar.Unavailable, http.StatusServiceUnavailable, reason.SPIREUnavailable},
		{registrar.Denied, http.StatusInternalServerError, reason.SPIRERejected},
		{registrar.Conflict, http.StatusInternalServerError, reason.SPIRERejected},
	}
	for _, test := range tests {
		s := &spire{err: &registrar.Error{Kind: test.kind, Message: "what to do"}}
		res := ask(t, s, namespaces{cached: intent.Namespace{Name: "demo"}}, as)
		if res.Allowed || len(res.Patch) > 0 || res.Result.Code != test.code {
			t.Errorf(
				"%s: allowed=%t patches=%d code=%d: expected false, 0, %d",
				test.kind,
				res.Allowed,
				len(res.Patch),
				res.Result.Code,
				test.code,
			)
		}
		if res.Result.Details != nil { // client-go would try for minutes before it says anything
			t.Errorf("%s: expected no time to try again, got %+v", test.kind, res.Result.Details)
		}
		for _, part := range []string{string(test.reason), "spiffe://example.org/api", "nothing was changed", "what to do"} {
			if !strings.Contains(res.Result.Message, part) {
				t.Errorf("%s: expected %q in %q", test.kind, part, res.Result.Message)
			}
		}
	}
}

// While SPIRE is away a pod waits, if the platform says so, and only then.
func TestHandlerAdmitsWithoutSPIRE(t *testing.T) {
	injector := inject.Injector{Platform: webhooktest.Platform(t)}
	injector.Platform.OnUnavailable = intent.Admit
	view := namespaces{cached: intent.Namespace{Name: "demo"}}
	away := &spire{err: &registrar.Error{Kind: registrar.Unavailable, Message: "away"}}
	res := askOf(t, injector, away, view, as)
	if !res.Allowed || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], string(reason.RegistrationDeferred)) {
		t.Fatalf("allowed=%t warnings=%v: expected the pod with a warning (%v)", res.Allowed, res.Warnings, res.Result)
	}
	deferredPod := patched(t, webhooktest.Server(), res)
	if !inject.StatusOf(deferredPod).Deferred {
		t.Errorf(
			"the pod does not say that its registration is deferred: %s",
			deferredPod.Annotations[intent.AnnotationStatus],
		)
	}
	// Called again for the same pod, because another webhook changed it, it neither waits again nor finds fault.
	before := len(away.calls)
	res = askOf(t, injector, away, view, func(r *admission.Request) { r.Object = raw(t, deferredPod) })
	if !res.Allowed || len(res.Patch) > 0 || len(away.calls) != before {
		t.Errorf(
			"called again: allowed=%t patches=%v, %d more calls of SPIRE (%v)",
			res.Allowed,
			string(res.Patch),
			len(away.calls)-before,
			res.Result,
		)
	}
	if validated, err := injector.Validate(view.cached, deferredPod); err != nil {
		t.Errorf("the pod does not pass validation: %v, %v", validated.Reason, err)
	}
	for _, kind := range []registrar.Kind{registrar.Denied, registrar.Conflict, registrar.Invalid, registrar.Failed} {
		if res := askOf(t, injector, &spire{err: &registrar.Error{Kind: kind, Message: "no"}}, view, as); res.Allowed {
			t.Errorf("%s: the pod is admitted", kind)
		}
	}
}

// The API server sends what its selectors match now; our view of the namespace may be older than its.
func TestHandlerBelievesTheAPIServerOverItsCache(t *testing.T) {
	s := &spire{}
	views := namespaces{
		cached: intent.Namespace{Name: "demo"},
		live:   intent.Namespace{Name: "demo", Labels: map[string]string{intent.LabelInject: intent.InjectEnabled}},
	}
	res := ask(t, s, views, func(r *admission.Request) {
		pod := webhooktest.Server()
		delete(pod.Labels, intent.LabelInject)
		r.Object = raw(t, pod)
	})
	if !res.Allowed || len(res.Patch) == 0 || len(s.calls) != 1 {
		t.Errorf("allowed=%t patches=%d registered=%d: expected true, some, 1", res.Allowed, len(res.Patch), len(s.calls))
	}
}

// A mistake in a namespace is mended before the pod is applied again: the cached view of it must not refuse the pod
// once more.
func TestHandlerRefusesByTheNewestNamespace(t *testing.T) {
	mistaken := intent.Namespace{Name: "demo", Annotations: map[string]string{intent.AnnotationX509SVIDTTL: "an hour"}}
	mended := intent.Namespace{Name: "demo", Annotations: map[string]string{intent.AnnotationX509SVIDTTL: "1h"}}
	for name, test := range map[string]struct {
		views namespaces
		want  bool
	}{
		"mended":     {namespaces{cached: mistaken, live: mended}, true},
		"not mended": {namespaces{cached: mistaken, live: mistaken}, false},
	} {
		if res := ask(t, &spire{}, test.views, as); res.Allowed != test.want {
			t.Errorf("%s: expected allowed=%t, got %+v", name, test.want, res.Result)
		}
	}
}

func TestHandlerRefusesWhatItCannotDecide(t *testing.T) {
	s := &spire{}
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "demo")
	res := ask(t, s, namespaces{err: gone}, as)
	if res.Allowed || res.Result.Code != http.StatusInternalServerError ||
		!strings.Contains(res.Result.Message, "namespace demo") {
		t.Errorf("expected a refusal with code 500 that names the namespace, got %+v", res.Result)
	}
	res = ask(
		t,
		s,
		namespaces{},
		func(r *admission.Request) { r.Object.Raw = []byte(`{"kind":"Pod","apiVersion":"v1","spec":7}`) },
	)
	if res.Allowed || !strings.Contains(res.Result.Message, "decoding the pod") {
		t.Errorf("expected a refusal that names the decoding, got %+v", res.Result)
	}
	if len(s.calls) > 0 {
		t.Errorf("registered %v", s.calls)
	}
}

func TestHandlerUpdatesRunningPods(t *testing.T) {
	before := running(t, inject.Injector{Platform: webhooktest.Platform(t)})
	after := before.DeepCopy()
	after.Annotations[intent.AnnotationAllowedPeers] = "/other"
	s := &spire{}
	res := ask(t, s, namespaces{cached: intent.Namespace{Name: "demo"}}, func(r *admission.Request) {
		r.Operation, r.OldObject, r.Object = admissionv1.Update, raw(t, before), raw(t, after)
	})
	// It is registered too: a change may take an attribute of the entry along, such as a federated domain.
	if !res.Allowed || len(operations(t, res)) != 2 || len(s.calls) != 1 {
		t.Errorf(
			"allowed=%t patches=%v registered=%d: expected true, listeners and authorization, 1",
			res.Allowed,
			string(res.Patch),
			len(s.calls),
		)
	}
}

func TestHandlerRegistersNothingForUnchangedPods(t *testing.T) {
	pod := running(t, inject.Injector{Platform: webhooktest.Platform(t)})
	s := &spire{}
	res := ask(t, s, namespaces{cached: intent.Namespace{Name: "demo"}}, func(r *admission.Request) {
		r.Operation, r.OldObject, r.Object = admissionv1.Update, raw(t, pod), raw(t, pod)
	})
	if !res.Allowed || len(res.Patch) != 0 || len(s.calls) != 0 {
		t.Errorf("allowed=%t patches=%v registered=%d: expected true, none, 0", res.Allowed, string(res.Patch), len(s.calls))
	}
}

// A copy of an injected pod that has lost its labels and annotations, as a debugger makes it, loses the rest.
func TestHandlerRemovesLeftovers(t *testing.T) {
	pod := running(t, inject.Injector{Platform: webhooktest.Platform(t)})
	pod.Labels, pod.Annotations = nil, nil
	s := &spire{}
	res := ask(
		t,
		s,
		namespaces{cached: intent.Namespace{Name: "demo"}, live: intent.Namespace{Name: "demo"}},
		func(r *admission.Request) { r.Object = raw(t, pod) },
	)
	if !res.Allowed || len(res.Patch) == 0 || res.Result.Message != string(reason.LeftoversRemoved) ||
		len(s.calls) != 0 {
		t.Errorf("expected leftovers removed and nothing registered, got %+v and %d calls", res, len(s.calls))
	}
}

func TestHandlerTakesTheInjectorInForce(t *testing.T) {
	injector := inject.Injector{Platform: webhooktest.Platform(t)}
	h := &Handler{
		Injector:   func() inject.Injector { return injector },
		Registrar:  &spire{},
		Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}},
	}
	req := admission.Request{
		AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create,
			Namespace: "demo",
			Object:    raw(t, webhooktest.Server()),
		},
	}
	for _, image := range []string{"envoy", "another"} {
		injector.Platform.Sidecar.Image = image
		patch := h.Handle(context.Background(), req).Patch
		if !strings.Contains(string(patch), `"image":"`+image+`"`) {
			t.Errorf("expected a sidecar with image %s, got %s", image, patch)
		}
	}
}

func TestHandlerRefreshesRunningPods(t *testing.T) {
	ns := in(map[string]string{intent.AnnotationAllowedPeers: "/web"})
	res, err := inject.Injector{Platform: webhooktest.Platform(t)}.Inject(ns, follower())
	if err != nil {
		t.Fatal(err)
	}
	after := res.Pod.DeepCopy()
	after.Annotations[intent.AnnotationRefresh] = "1"
	s := &spire{}
	answer := ask(
		t,
		s,
		namespaces{cached: in(map[string]string{intent.AnnotationAllowedPeers: "/other"})},
		func(r *admission.Request) {
			r.Operation, r.OldObject, r.Object = admissionv1.Update, raw(t, res.Pod), raw(t, after)
		},
	)
	if !answer.Allowed || len(operations(t, answer)) != 2 || len(s.calls) != 1 ||
		answer.Result.Message != string(reason.Regenerated) {
		t.Errorf(
			"allowed=%t patches=%v registered=%d: expected true, listeners and authorization, 1",
			answer.Allowed,
			string(answer.Patch),
			len(s.calls),
		)
	}
}

func follower() *corev1.Pod {
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAllowedPeers)
	delete(pod.Annotations, intent.AnnotationUpstreams)
	return pod
}

func in(annotations map[string]string) intent.Namespace {
	return intent.Namespace{Name: "demo", Annotations: annotations}
}
