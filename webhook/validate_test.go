package webhook

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func TestValidate(t *testing.T) {
	unlabelled := func(p *corev1.Pod) { delete(p.Labels, LabelInject) }
	tests := []struct {
		name    string
		change  func(*corev1.Pod) // of an injected pod
		reason  Reason            // of the decision or of the refusal
		refused string            // part of the refusal
	}{
		{"as injected", func(*corev1.Pod) {}, ReasonAlreadyInjected, ""},
		{"with additions of others", func(p *corev1.Pod) {
			p.Labels["other.io/x"] = "y"
			p.Spec.InitContainers[0].Env = []corev1.EnvVar{{Name: "OTHER"}}
		}, ReasonAlreadyInjected, ""},
		{"another identity", func(p *corev1.Pod) { p.Labels[LabelIdentity] = "another" }, ReasonTampered, "label " + LabelIdentity},
		{"another image", func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "another" }, ReasonTampered, "container envoy"},
		{"other peers than the rules", func(p *corev1.Pod) { p.Annotations[AnnotationAllowedPeers] = "/other" }, ReasonTampered, AnnotationAuthorization},
		{"no drain", func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = nil }, ReasonTampered, "container app"},
		{"status taken away", func(p *corev1.Pod) { delete(p.Annotations, AnnotationStatus) }, ReasonTampered, AnnotationStatus + ": is missing"},
		{"label taken away", unlabelled, ReasonTampered, "label " + LabelIdentity + ": is written by the webhook alone, and this pod does not ask for injection"},
		{"an identity and nothing else", func(p *corev1.Pod) {
			*p = corev1.Pod{Spec: server().Spec}
			p.Labels = map[string]string{LabelIdentity: "stolen"}
		}, ReasonTampered, "label " + LabelIdentity},
		{"a status and nothing else", func(p *corev1.Pod) {
			*p = corev1.Pod{Spec: server().Spec}
			p.Annotations = map[string]string{AnnotationStatus: "{}"}
		}, ReasonTampered, "annotation " + AnnotationStatus},
		{"a configuration and nothing else", func(p *corev1.Pod) {
			volumes := p.Spec.Volumes
			*p = corev1.Pod{Spec: server().Spec}
			p.Spec.Volumes = volumes
		}, ReasonTampered, "volume " + ConfigVolume},
		{"nothing of ours", func(p *corev1.Pod) { *p = corev1.Pod{Spec: server().Spec} }, ReasonNotLabelled, ""},
		{"a user's text", func(p *corev1.Pod) {
			*p = corev1.Pod{Spec: server().Spec}
			p.Annotations = map[string]string{AnnotationAppPort: "8080"}
		}, ReasonNotLabelled, ""},
	}
	injector := Injector{Platform: platform(t), Version: "test"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := running(t, injector)
			test.change(pod)
			arrived := pod.DeepCopy()
			res, err := injector.Validate(Namespace{Name: "demo"}, pod)
			if diff := cmp.Diff(arrived, pod); diff != "" {
				t.Errorf("Validate changed its argument:\n%s", diff)
			}
			if test.refused != "" {
				wantRefusal(t, err, test.reason, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Reason != test.reason || res.Pod != pod || len(res.Workloads) > 0 {
				t.Errorf("expected %s, the pod as it came and nothing to register, got %s and %v", test.reason, res.Reason, res.Workloads)
			}
		})
	}
}

// While an injector is upgraded, one version injects and the other validates.
func TestValidateWhatAnotherVersionInjected(t *testing.T) {
	injector := Injector{Platform: platform(t), Version: "old"}
	pod := running(t, injector)
	injector.Version = "new"
	if _, err := injector.Validate(Namespace{Name: "demo"}, pod); err != nil {
		t.Error(err)
	}
}

func TestValidateUpdate(t *testing.T) {
	injector := Injector{Platform: platform(t), Version: "test"}
	before := running(t, injector)
	regenerate := func(t *testing.T, change func(*corev1.Pod)) *corev1.Pod {
		t.Helper()
		after := before.DeepCopy()
		change(after)
		res, err := injector.Update(Namespace{Name: "demo"}, before, after)
		if err != nil {
			t.Fatal(err)
		}
		return res.Pod
	}
	allowOther := func(p *corev1.Pod) { p.Annotations[AnnotationAllowedPeers] = "/other" }
	tests := []struct {
		name    string
		after   func(t *testing.T) *corev1.Pod
		reason  Reason
		refused string
	}{
		{"nothing", func(t *testing.T) *corev1.Pod { return regenerate(t, func(*corev1.Pod) {}) }, ReasonUnchanged, ""},
		{"new peers, with their rules", func(t *testing.T) *corev1.Pod { return regenerate(t, allowOther) }, ReasonRegenerated, ""},
		{"new peers, with the old rules", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			allowOther(after)
			return after
		}, ReasonTampered, AnnotationAuthorization},
		{"old peers, with new rules", func(t *testing.T) *corev1.Pod {
			after := regenerate(t, allowOther)
			after.Annotations[AnnotationAllowedPeers] = before.Annotations[AnnotationAllowedPeers]
			return after
		}, ReasonTampered, AnnotationAuthorization},
		{"new peers, with rules of somebody", func(t *testing.T) *corev1.Pod {
			after := regenerate(t, allowOther)
			after.Annotations[AnnotationAuthorization] = "{}"
			return after
		}, ReasonTampered, AnnotationAuthorization},
		{"rules taken away", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			delete(after.Annotations, AnnotationAuthorization)
			return after
		}, ReasonTampered, AnnotationAuthorization},
		{"identity", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			after.Labels[LabelIdentity] = "another"
			return after
		}, ReasonTampered, LabelIdentity},
		{"image of the sidecar", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			after.Spec.InitContainers[0].Image = "another"
			return after
		}, ReasonNeedsNewPod, "container envoy, image: a running pod cannot take this change"},
		{"image of the app", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			after.Spec.Containers[0].Image = "another"
			return after
		}, ReasonUnchanged, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			res, err := injector.ValidateUpdate(Namespace{Name: "demo"}, before, test.after(t))
			if test.refused != "" {
				wantRefusal(t, err, test.reason, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Reason != test.reason {
				t.Errorf("expected %s, got %s", test.reason, res.Reason)
			}
		})
	}
}

// A running pod without an identity cannot come by one, nor by the status from which its registration follows.
func TestValidateUpdateOfPodThatWasNeverInjected(t *testing.T) {
	injector := Injector{Platform: platform(t)}
	plain := &corev1.Pod{Spec: server().Spec}
	for key, change := range map[string]func(*corev1.Pod){
		"label " + LabelIdentity:            func(p *corev1.Pod) { p.Labels = map[string]string{LabelIdentity: "stolen"} },
		"annotation " + AnnotationStatus:    func(p *corev1.Pod) { p.Annotations = map[string]string{AnnotationStatus: "{}"} },
		"annotation " + AnnotationListeners: func(p *corev1.Pod) { p.Annotations = map[string]string{AnnotationListeners: "{}"} },
	} {
		after := plain.DeepCopy()
		change(after)
		_, err := injector.ValidateUpdate(Namespace{Name: "demo"}, plain, after)
		wantRefusal(t, err, ReasonNeedsNewPod, key+": is written by the webhook alone")
	}
}

func TestValidatorAnswers(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	injector := Injector{Platform: platform(t)}
	v := &Validator{Injector: func() Injector { return injector }, Namespaces: namespaces{cached: Namespace{Name: "demo"}, live: Namespace{Name: "demo"}}, Decoder: admission.NewDecoder(scheme)}
	good := running(t, injector)
	bad := good.DeepCopy()
	bad.Labels[LabelIdentity] = "another"
	create := func(pod *corev1.Pod) admission.Request {
		return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, pod)}}
	}
	update := create(bad)
	update.Operation, update.OldObject = admissionv1.Update, raw(t, good)

	if res := v.Handle(context.Background(), create(good)); !res.Allowed || len(res.Patches) > 0 || len(res.Patch) > 0 {
		t.Errorf("an injected pod: expected it allowed without a patch, got %+v", res)
	}
	// A running pod is compared with itself, not with what it would become now.
	same := create(good)
	same.Operation, same.OldObject = admissionv1.Update, raw(t, good)
	injector.Platform.Sidecar.Image = "newer"
	if res := v.Handle(context.Background(), same); !res.Allowed {
		t.Errorf("a running pod of an older platform: expected it allowed, got %+v", res.Result)
	}
	injector.Platform.Sidecar.Image = platform(t).Sidecar.Image
	for name, req := range map[string]admission.Request{"create": create(bad), "update": update} {
		res := v.Handle(context.Background(), req)
		if res.Allowed || res.Result.Code != http.StatusForbidden || !strings.Contains(res.Result.Message, LabelIdentity) {
			t.Errorf("%s: expected a refusal that names the label, got %+v", name, res)
		}
	}
}
