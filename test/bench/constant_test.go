package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The constant patch must make of any of its pods what the injector makes of any of its own, whatever names the API
// server has given to both. Only the label by which they were chosen may differ.
func TestConstantPatchDoesWhatOursDoes(t *testing.T) {
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	injector, err := demoInjector(root)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := patchFor(injector, "bench", asAdmitted(withoutWebhook(), "first"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := injector.Inject(intent.Namespace{Name: "bench"}, asAdmitted(ours(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	want, got := result.Pod, apply(t, patch, asAdmitted(patchingConstantly(), "other"))
	if len(got.Spec.InitContainers) != 1 || len(got.Spec.Volumes) != 3 {
		t.Errorf("got %d init containers and %d volumes, want the sidecar and its two beside the token", len(got.Spec.InitContainers), len(got.Spec.Volumes))
	}
	delete(want.Labels, ours().label)
	delete(got.Labels, patchingConstantly().label)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pod (-ours +constant patch):\n%s", diff)
	}
}

func TestPatchOfARefusedPod(t *testing.T) {
	pod := asAdmitted(withoutWebhook(), "x")
	pod.Spec.HostNetwork = true
	patch, err := patchFor(inject.Injector{}, "bench", pod)
	var refusal *intent.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "spec.hostNetwork") {
		t.Errorf("expected the injector's refusal, got the patch %v and error %v", patch, err)
	}
}

// asAdmitted is a pod as webhooks see it: the API server names the token's volume by chance.
func asAdmitted(v variant, suffix string) *corev1.Pod {
	pod := pendingPod("bench", v)
	token := "kube-api-access-" + suffix
	pod.Spec.Volumes = []corev1.Volume{{Name: token}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: token, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}}
	return pod
}

// apply applies a patch as the API server does.
func apply(t *testing.T, operations []inject.Operation, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	data, err := json.Marshal(operations)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		t.Fatal(err)
	}
	before, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(before)
	if err != nil {
		t.Fatalf("applying %s: %v", data, err)
	}
	var out corev1.Pod
	if err := json.Unmarshal(after, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}
