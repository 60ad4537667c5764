package inject

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func TestValidate(t *testing.T) {
	unlabelled := func(p *corev1.Pod) { delete(p.Labels, intent.LabelInject) }
	tests := []struct {
		name    string
		change  func(*corev1.Pod) // of an injected pod
		reason  reason.Reason     // of the decision or of the refusal
		refused string            // part of the refusal
	}{
		{"as injected", func(*corev1.Pod) {}, reason.AlreadyInjected, ""},
		{"with additions of others", func(p *corev1.Pod) {
			p.Labels["other.io/x"] = "y"
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "OTHER"}}
		}, reason.AlreadyInjected, ""},
		{"with a variable more", func(p *corev1.Pod) {
			p.Spec.InitContainers[0].Env = []corev1.EnvVar{{Name: "OTHER"}}
		}, reason.Tampered, "container envoy, env"},
		{"with what injection would take away", func(p *corev1.Pod) {
			p.Spec.InitContainers[0].Env = []corev1.EnvVar{{Name: "AWS_ROLE_ARN"}}
		}, reason.Tampered, "container envoy, env"},
		{"with another init container first", func(p *corev1.Pod) {
			p.Spec.InitContainers = append([]corev1.Container{{Name: "first"}}, p.Spec.InitContainers...)
		}, reason.Tampered, "container envoy: is not before the pod's other containers"},
		{
			"another identity",
			func(p *corev1.Pod) { p.Labels[intent.LabelIdentity] = "another" },
			reason.Tampered,
			"label " + intent.LabelIdentity,
		},
		{
			"another image",
			func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "another" },
			reason.Tampered,
			"container envoy",
		},
		{
			"other peers than the rules",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/other" },
			reason.Tampered,
			intent.AnnotationAuthorization,
		},
		{"no drain", func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = nil }, reason.Tampered, "container app"},
		{
			"status taken away",
			func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationStatus) },
			reason.Tampered,
			intent.AnnotationStatus + ": is missing",
		},
		{
			"label taken away",
			unlabelled,
			reason.Tampered,
			"label " + intent.LabelIdentity + ": is written by the webhook alone, and this pod does not ask for injection",
		},
		{"an identity and nothing else", func(p *corev1.Pod) {
			*p = corev1.Pod{Spec: webhooktest.Server().Spec}
			p.Labels = map[string]string{intent.LabelIdentity: "stolen"}
		}, reason.Tampered, "label " + intent.LabelIdentity},
		{"a status and nothing else", func(p *corev1.Pod) {
			*p = corev1.Pod{Spec: webhooktest.Server().Spec}
			p.Annotations = map[string]string{intent.AnnotationStatus: "{}"}
		}, reason.Tampered, "annotation " + intent.AnnotationStatus},
		{"a configuration and nothing else", func(p *corev1.Pod) {
			volumes := p.Spec.Volumes
			*p = corev1.Pod{Spec: webhooktest.Server().Spec}
			p.Spec.Volumes = volumes
		}, reason.Tampered, "volume " + ConfigVolume},
		{"nothing of ours", func(p *corev1.Pod) { *p = corev1.Pod{Spec: webhooktest.Server().Spec} }, reason.NotLabelled, ""},
		{"a user's text", func(p *corev1.Pod) {
			*p = corev1.Pod{Spec: webhooktest.Server().Spec}
			p.Annotations = map[string]string{intent.AnnotationAppPort: "8080"}
		}, reason.NotLabelled, ""},
	}
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := running(t, injector)
			test.change(pod)
			arrived := pod.DeepCopy()
			res, err := injector.Validate(intent.Namespace{Name: "demo"}, pod)
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
				t.Errorf(
					"expected %s, the pod as it came and nothing to register, got %s and %v",
					test.reason,
					res.Reason,
					res.Workloads,
				)
			}
		})
	}
}

// While an injector is upgraded, one version injects and the other validates.
func TestValidateWhatAnotherVersionInjected(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "old"}
	pod := running(t, injector)
	injector.Version = "new"
	if _, err := injector.Validate(intent.Namespace{Name: "demo"}, pod); err != nil {
		t.Error(err)
	}
}

func TestValidateUpdate(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	before := running(t, injector)
	regenerate := func(t *testing.T, change func(*corev1.Pod)) *corev1.Pod {
		t.Helper()
		after := before.DeepCopy()
		change(after)
		res, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
		if err != nil {
			t.Fatal(err)
		}
		return res.Pod
	}
	allowOther := func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/other" }
	tests := []struct {
		name    string
		after   func(t *testing.T) *corev1.Pod
		reason  reason.Reason
		refused string
	}{
		{"nothing", func(t *testing.T) *corev1.Pod { return regenerate(t, func(*corev1.Pod) {}) }, reason.Unchanged, ""},
		{
			"new peers, with their rules",
			func(t *testing.T) *corev1.Pod { return regenerate(t, allowOther) },
			reason.Regenerated,
			"",
		},
		{"new peers, with the old rules", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			allowOther(after)
			return after
		}, reason.Tampered, intent.AnnotationAuthorization},
		{"old peers, with new rules", func(t *testing.T) *corev1.Pod {
			after := regenerate(t, allowOther)
			after.Annotations[intent.AnnotationAllowedPeers] = before.Annotations[intent.AnnotationAllowedPeers]
			return after
		}, reason.Tampered, intent.AnnotationAuthorization},
		{"new peers, with rules of somebody", func(t *testing.T) *corev1.Pod {
			after := regenerate(t, allowOther)
			after.Annotations[intent.AnnotationAuthorization] = "{}"
			return after
		}, reason.Tampered, intent.AnnotationAuthorization},
		{"rules taken away", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			delete(after.Annotations, intent.AnnotationAuthorization)
			return after
		}, reason.Tampered, intent.AnnotationAuthorization},
		{"identity", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			after.Labels[intent.LabelIdentity] = "another"
			return after
		}, reason.Tampered, intent.LabelIdentity},
		{"image of the sidecar", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			after.Spec.InitContainers[0].Image = "another"
			return after
		}, reason.NeedsNewPod, "container envoy, image: a running pod cannot take this change"},
		{"image of the app", func(*testing.T) *corev1.Pod {
			after := before.DeepCopy()
			after.Spec.Containers[0].Image = "another"
			return after
		}, reason.Unchanged, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			res, err := injector.ValidateUpdate(intent.Namespace{Name: "demo"}, before, test.after(t))
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
	injector := Injector{Platform: webhooktest.Platform(t)}
	plain := &corev1.Pod{Spec: webhooktest.Server().Spec}
	for key, change := range map[string]func(*corev1.Pod){
		"label " + intent.LabelIdentity: func(p *corev1.Pod) {
			p.Labels = map[string]string{intent.LabelIdentity: "stolen"}
		},
		"annotation " + intent.AnnotationStatus: func(p *corev1.Pod) {
			p.Annotations = map[string]string{intent.AnnotationStatus: "{}"}
		},
		"annotation " + intent.AnnotationListeners: func(p *corev1.Pod) {
			p.Annotations = map[string]string{intent.AnnotationListeners: "{}"}
		},
	} {
		after := plain.DeepCopy()
		change(after)
		_, err := injector.ValidateUpdate(intent.Namespace{Name: "demo"}, plain, after)
		wantRefusal(t, err, reason.NeedsNewPod, key+": is written by the webhook alone")
	}
}

// During an upgrade replicas of two versions answer for one pod, and the newer one may say more in its status.
func TestValidateStatusOfANewerVersion(t *testing.T) {
	newer := Injector{Platform: webhooktest.Platform(t), Version: "newer"}
	pod := running(t, newer)
	status := pod.Annotations[intent.AnnotationStatus]
	pod.Annotations[intent.AnnotationStatus] = strings.TrimSuffix(status, "}") + `,"news":[1]}`
	older := Injector{Platform: newer.Platform, Version: "older"}
	if _, err := older.Validate(intent.Namespace{Name: "demo"}, pod); err != nil {
		t.Errorf("what a newer version says besides is refused: %v", err)
	}
	// The version itself knows what it says, and what others say of what it knows counts as ever.
	_, err := newer.Validate(intent.Namespace{Name: "demo"}, pod)
	wantRefusal(t, err, reason.Tampered, "annotation "+intent.AnnotationStatus)
	pod.Annotations[intent.AnnotationStatus] = strings.Replace(status, `"app":[8080]`, `"app":[8081]`, 1)
	if pod.Annotations[intent.AnnotationStatus] == status {
		t.Fatalf("there is no such port in %s", status)
	}
	_, err = older.Validate(intent.Namespace{Name: "demo"}, pod)
	wantRefusal(t, err, reason.OtherVersion, "annotation "+intent.AnnotationStatus)
}
