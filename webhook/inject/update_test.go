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

// running is a pod as it is after injection.
func running(t *testing.T, i Injector) *corev1.Pod {
	t.Helper()
	res, err := i.Inject(intent.Namespace{Name: "demo"}, webhooktest.Server())
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}

func TestUpdate(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*corev1.Pod)
		reason  reason.Reason // of the decision or of the refusal
		changed []string      // annotations that the webhook writes again
		refused string        // part of the refusal
	}{
		{"nothing", func(*corev1.Pod) {}, reason.Unchanged, nil, ""},
		{"a label of another", func(p *corev1.Pod) { p.Labels["app"] = "x" }, reason.Unchanged, nil, ""},
		{"peers", func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/web, /other" }, reason.Regenerated,
			[]string{intent.AnnotationListeners, intent.AnnotationAuthorization}, ""},
		{"expected server", func(p *corev1.Pod) {
			p.Annotations[intent.AnnotationUpstreams] = `[{listen: 8000, address: "db.demo.svc:8443", peers: [/other]}]`
		}, reason.Regenerated, []string{intent.AnnotationClusters}, ""},
		{
			"bad peers",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "web" },
			reason.Invalid,
			nil,
			`did you mean "/web"`,
		},
		{
			"no peers",
			func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationAllowedPeers) },
			reason.Invalid,
			nil,
			"expected at least one peer",
		},
		{
			"identity",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationSPIFFEID] = "/ns/demo/x" },
			reason.NeedsNewPod,
			nil,
			intent.AnnotationSPIFFEID + ": a running pod cannot take this change, it needs a new pod",
		},
		{
			"port",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationAppPort] = "9090" },
			reason.NeedsNewPod,
			nil,
			intent.AnnotationAppPort + ": a running pod",
		},
		{
			"TTL",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationX509SVIDTTL] = "60s" },
			reason.NeedsNewPod,
			nil,
			intent.AnnotationX509SVIDTTL,
		},
		{"upstream port, which is probed", func(p *corev1.Pod) {
			p.Annotations[intent.AnnotationUpstreams] = `[{listen: 8001, address: "db.demo.svc:8443", peers: [/db]}]`
		}, reason.NeedsNewPod, nil, intent.AnnotationUpstreams},
		{
			"unknown key",
			func(p *corev1.Pod) { p.Annotations[intent.Prefix+"alowed-peers"] = "/x" },
			reason.Invalid,
			nil,
			"did you mean",
		},
		{
			"inject label",
			func(p *corev1.Pod) { delete(p.Labels, intent.LabelInject) },
			reason.Tampered,
			nil,
			intent.LabelInject,
		},
		{
			"identity label",
			func(p *corev1.Pod) { p.Labels[intent.LabelIdentity] = "other" },
			reason.Tampered,
			nil,
			intent.LabelIdentity,
		},
		{
			"status",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationStatus] = "{}" },
			reason.Tampered,
			nil,
			intent.AnnotationStatus,
		},
		{
			"status removed",
			func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationStatus) },
			reason.Tampered,
			nil,
			intent.AnnotationStatus,
		},
		{
			"generated listeners",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationListeners] = "{}" },
			reason.Tampered,
			nil,
			intent.AnnotationListeners,
		},
	}
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := running(t, injector)
			after := before.DeepCopy()
			test.change(after)
			asked := after.DeepCopy()
			res, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
			if diff := cmp.Diff(asked, after); diff != "" {
				t.Errorf("Update changed its argument:\n%s", diff)
			}
			if test.refused != "" {
				wantRefusal(t, err, test.reason, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Reason != test.reason {
				t.Errorf("reason: expected %s, got %s", test.reason, res.Reason)
			}
			var changed []string
			for _, key := range intent.WrittenByWebhook() {
				if res.Pod.Annotations[key] != before.Annotations[key] {
					changed = append(changed, key)
				}
			}
			if diff := cmp.Diff(test.changed, changed); diff != "" {
				t.Errorf("annotations written again (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Spec, res.Pod.Spec); diff != "" {
				t.Errorf("the spec of a running pod cannot change:\n%s", diff)
			}
		})
	}
}

// A platform that has moved on must not make every change of a running pod impossible.
func TestUpdateAfterPlatformChange(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	before := running(t, injector)
	after := before.DeepCopy()
	after.Annotations[intent.AnnotationAllowedPeers] = "/other"
	injector.Version = "next"
	injector.Platform.Sidecar.Image = "another"
	injector.Platform.AgentSocket.File = "moved.sock"
	res, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Pod.Annotations[intent.AnnotationBootstrap]; got != before.Annotations[intent.AnnotationBootstrap] {
		t.Error("the bootstrap of a running pod was changed")
	}
	if !strings.Contains(res.Pod.Annotations[intent.AnnotationAuthorization], "spiffe://example.org/other") {
		t.Errorf("the new peer is not in the rules: %s", res.Pod.Annotations[intent.AnnotationAuthorization])
	}
}

func TestUpdateOfPodThatWasNeverInjected(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	plain := &corev1.Pod{Spec: webhooktest.Server().Spec}
	tests := []struct {
		name    string
		labels  map[string]string
		refused string
	}{
		{"label of another", map[string]string{"app": "x"}, ""},
		{"asks too late", map[string]string{intent.LabelInject: intent.InjectEnabled}, "needs a new pod"},
		{"takes an identity", map[string]string{intent.LabelIdentity: "stolen"}, "written by the webhook alone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			after := plain.DeepCopy()
			after.Labels = test.labels
			res, err := injector.Update(intent.Namespace{Name: "demo"}, plain, after)
			if test.refused != "" {
				wantRefusal(t, err, reason.NeedsNewPod, test.refused)
				return
			}
			if err != nil || res.Inject || res.Pod != after {
				t.Errorf("expected the pod as it is, got inject=%t, %v", res.Inject, err)
			}
		})
	}
}
