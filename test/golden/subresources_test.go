package golden

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// What is ours changes by way of no subresource: by the API server's policy, and without it by the webhook. Kubelets
// write the status, and no webhook is asked.
func testSubresources(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	s.prepare(t, intent.Namespace{Name: "subresources"}, "subresources")
	stored, err := s.create(t, []byte(`{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: subresources,
		labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}},
		spec: {containers: [{name: app, image: app}]}}`))
	must(t, err)
	defer s.remove(t, stored)
	pod := decodedPod(stored)
	patch := func(subresource, text string) error {
		return s.SubResource(subresource).Patch(t.Context(), pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, []byte(text)))
	}
	refused := map[string]struct{ subresource, patch string }{
		"peers":             {"status", `{"metadata": {"annotations": {"spiffe.io/allowed-peers": "/mine"}}}`},
		"peers taken away":  {"status", `{"metadata": {"annotations": {"spiffe.io/allowed-peers": null}}}`},
		"an annotation":     {"status", `{"metadata": {"annotations": {"spiffe.io/enforcement": "audit"}}}`},
		"the status":        {"status", `{"metadata": {"annotations": {"spiffe.io/status": "{}"}}}`},
		"the configuration": {"status", `{"metadata": {"annotations": {"spiffe.io/envoy-authorization": "{}"}}}`},
		"the identity":      {"status", `{"metadata": {"labels": {"spiffe.io/identity": "mine"}}}`},
		"the label":         {"status", `{"metadata": {"labels": {"spiffe.io/inject": "disabled"}}}`},
		"the agent's socket in an ephemeral container": {"ephemeralcontainers", `{"spec": {"ephemeralContainers": [
			{"name": "debug", "image": "debug", "volumeMounts": [{"name": "spiffe-agent-socket", "mountPath": "/s"}]}]}}`},
		"the configuration in an ephemeral container": {"ephemeralcontainers", `{"spec": {"ephemeralContainers": [
			{"name": "debug", "image": "debug", "volumeMounts": [{"name": "spiffe-envoy-config", "mountPath": "/s"}]}]}}`},
	}
	try := func(by string) {
		for what, test := range refused {
			if err := patch(test.subresource, test.patch); err == nil || !strings.Contains(err.Error(), by) {
				t.Errorf("%s: expected a refusal of the %s, got %v", what, by, err)
			}
		}
	}
	try("ValidatingAdmissionPolicy")

	s.validated.Store(0)
	must(t, patch("status", `{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}`))
	must(t, patch("status", `{"metadata": {"annotations": {"other.io/x": "y"}, "labels": {"other.io/x": "y"}}}`))
	must(t, patch("ephemeralcontainers", `{"spec": {"ephemeralContainers": [{"name": "harmless", "image": "debug"}]}}`))
	if n := s.validated.Load(); n != 0 {
		t.Errorf("the webhook was asked %d times about what is not ours", n)
	}

	s.withoutPolicy(t, func() { try("admission webhook") })
	var now corev1.Pod
	must(t, s.Get(t.Context(), client.ObjectKeyFromObject(pod), &now))
	if got := now.Annotations[intent.AnnotationAllowedPeers]; got != "/web" {
		t.Errorf("the pod has the peers %q", got)
	}
	must(t, s.Patch(t.Context(), pod.DeepCopy(), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata": {"annotations": {"spiffe.io/allowed-peers": "/other"}}}`))))
}

// withoutPolicy does something while the API server's own policy does not hold, as if somebody had removed it.
func (s *apiServer) withoutPolicy(t *testing.T, do func()) {
	t.Helper()
	binding := decoded(t, []byte(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: spire-injector}}`))
	must(t, s.Get(t.Context(), client.ObjectKeyFromObject(binding), binding))
	again := binding.DeepCopy()
	again.SetResourceVersion("")
	again.SetUID("")
	probe := func() string {
		_, err := s.create(t, []byte(`{metadata: {name: p, namespace: subresources, labels: {`+intent.LabelIdentity+`: forged}},
			spec: {containers: [{name: c, image: c}]}, apiVersion: v1, kind: Pod}`), client.DryRunAll)
		if err == nil {
			return "nobody"
		}
		return err.Error()
	}
	must(t, s.Delete(t.Context(), binding))
	s.eventually(t, "the policy is away", func() error { return expect(!strings.Contains(probe(), "ValidatingAdmissionPolicy")) })
	do()
	must(t, s.Create(t.Context(), again))
	s.eventually(t, "the policy is back", func() error { return expect(strings.Contains(probe(), "ValidatingAdmissionPolicy")) })
}
