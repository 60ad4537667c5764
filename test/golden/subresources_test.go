package golden

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

// withoutPolicy does something while the API server's own policies do not hold, as if somebody had removed them.
func (s *apiServer) withoutPolicy(t *testing.T, do func()) {
	t.Helper()
	bindings := &unstructured.UnstructuredList{}
	bindings.SetAPIVersion("admissionregistration.k8s.io/v1")
	bindings.SetKind("ValidatingAdmissionPolicyBindingList")
	must(t, s.List(t.Context(), bindings))
	probes, done := s.probes(t)
	defer done()
	for i := range bindings.Items {
		if b := &bindings.Items[i]; strings.HasPrefix(b.GetName(), "spire-injector") {
			must(t, s.Delete(t.Context(), b.DeepCopy()))
		}
	}
	for _, probe := range probes {
		s.eventually(t, "the policies are away", deniedByPolicy(probe, false))
	}
	do()
	for i := range bindings.Items {
		if b := &bindings.Items[i]; strings.HasPrefix(b.GetName(), "spire-injector") {
			b.SetResourceVersion("")
			b.SetUID("")
			must(t, s.Create(t.Context(), b))
		}
	}
	for _, probe := range probes {
		s.eventually(t, "the policies are back", deniedByPolicy(probe, true))
	}
}

// deniedByPolicy says whether an attempt is, or is not, denied by a policy of the API server's.
func deniedByPolicy(attempt func() error, want bool) func() error {
	return func() error {
		err := attempt()
		if denied := err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy"); denied != want {
			return fmt.Errorf("expected a denial by a policy: %t, got %w", want, err)
		}
		return nil
	}
}

// probes are attempts that the policies' bindings for creations, for changes and for the status deny.
func (s *apiServer) probes(t *testing.T) (attempts []func() error, done func()) {
	t.Helper()
	plain, err := s.create(t, []byte(`{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: default}, spec: {containers: [{name: c, image: c}]}}`))
	must(t, err)
	forged := []byte(`{apiVersion: v1, kind: Pod, metadata: {name: forged, namespace: default, labels: {` + intent.LabelIdentity + `: forged}},
		spec: {containers: [{name: c, image: c}]}}`)
	label := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"labels": {"`+intent.LabelIdentity+`": "forged"}}}`))
	dryRun := &client.SubResourcePatchOptions{PatchOptions: client.PatchOptions{DryRun: []string{metav1.DryRunAll}}}
	return []func() error{
		func() error { _, err := s.create(t, forged, client.DryRunAll); return err },
		func() error { return s.Patch(t.Context(), decodedPod(plain), label, client.DryRunAll) },
		func() error { return s.SubResource("status").Patch(t.Context(), decodedPod(plain), label, dryRun) },
	}, func() { s.remove(t, plain) }
}
