package golden

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// A pod without our labels is not looked at when it is created, nor its status, if it looks like one that a workload's
// controller made. Even with all else of an injected pod it has no identity: no entry, watch and rollout selects it. And
// it never gets one.
func testUnlabelled(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	s.prepare(t, intent.Namespace{Name: "subresources"}, "unlabelled")
	shown, err := s.create(t, []byte(`{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: subresources,
		labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}},
		spec: {containers: [{name: app, image: app}]}}`), client.DryRunAll)
	must(t, err)
	var injected corev1.Pod
	mustUnmarshal(t, asJSON(t, shown), &injected)
	identity := injected.Labels[intent.LabelIdentity]
	s.use(inject.Injector{Platform: platform, Version: "test"})
	s.validated.Store(0)

	forged := &corev1.Pod{Spec: injected.Spec}
	forged.Name, forged.Namespace, forged.Annotations = "forged", injected.Namespace, injected.Annotations
	forged.Labels = map[string]string{"pod-template-hash": "x"}
	must(t, s.Create(t.Context(), forged))
	defer func() { must(t, s.Delete(t.Context(), forged, client.GracePeriodSeconds(0))) }()
	patch := func(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }
	must(t, s.SubResource("status").Patch(t.Context(), forged.DeepCopy(), patch(`{"status": {"phase": "Running"}}`)))
	if len(s.handed) > 0 || s.validated.Load() > 0 {
		t.Errorf("the webhooks were asked %d and %d times", len(s.handed), s.validated.Load())
	}

	labels := func(labels map[string]string) client.Patch {
		text, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
		must(t, err)
		return patch(string(text))
	}
	attempts := map[string]map[string]string{
		"the identity": {intent.LabelIdentity: identity},
		"both labels":  {intent.LabelIdentity: identity, intent.LabelInject: intent.InjectEnabled},
	}
	try := func(by string) {
		for what, wanted := range attempts {
			if err := s.Patch(t.Context(), forged.DeepCopy(), labels(wanted)); err == nil || !strings.Contains(err.Error(), by) {
				t.Errorf("%s: expected a refusal of the %s, got %v", what, by, err)
			}
			if err := s.SubResource("status").Patch(t.Context(), forged.DeepCopy(), labels(wanted)); err == nil || !strings.Contains(err.Error(), by) {
				t.Errorf("%s by way of the status: expected a refusal of the %s, got %v", what, by, err)
			}
		}
	}
	try("denied")
	s.withoutPolicy(t, func() { try("admission webhook") })
	enabled := labels(map[string]string{intent.LabelInject: intent.InjectEnabled})
	if err := s.Patch(t.Context(), forged.DeepCopy(), enabled); err == nil || !strings.Contains(err.Error(), "it needs a new pod") {
		t.Errorf("the label of injection: expected a refusal of the webhook, got %v", err)
	}

	// Who writes such a pod by hand is told.
	byHand := forged.DeepCopy()
	byHand.Name, byHand.ResourceVersion, byHand.UID, byHand.Labels = "by-hand", "", "", map[string]string{"app": "x"}
	byHand.Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}
	if err := s.Create(t.Context(), byHand); err == nil || !strings.Contains(err.Error(), "this pod does not ask for injection") {
		t.Errorf("by hand: expected a refusal of the policy, got %v", err)
	}
}
