package check

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What an old Kubernetes lacks depends on how old it is.
func TestRemediesOfOldKubernetes(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.28.9": "no native sidecars", "v1.29.0": "no ValidatingAdmissionPolicy", "v1.30.0": "", "v1.36.3": "",
	} {
		got := kubernetesVersion(Facts{Kubernetes: version})
		if len(got) != 1 || (got[0].Status == OK) != (want == "") || !strings.Contains(got[0].Remedy, want) {
			t.Errorf("%s: got %+v", version, got)
		}
	}
}

// An agent's pod belongs to a DaemonSet only if that made it.
func TestOwnerOfAgent(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"DaemonSet": "agents", "ReplicaSet": "", "": ""} {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "spire"}, Spec: corev1.PodSpec{NodeName: "node-1"}}
		if kind != "" {
			pod.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: "agents", Controller: new(true)}}
		}
		if got := agentPod(pod); got != (AgentPod{Namespace: "spire", Node: "node-1", DaemonSet: want}) {
			t.Errorf("of a %s: got %+v", kind, got)
		}
	}
}

// The injector tries a pod where its webhooks are asked, in the default namespace if they are.
func TestNamespaceOfTrial(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	if got := c.gather(t).Trial.Namespace; got != "default" {
		t.Errorf("tried in %s", got)
	}
	f := c.gather(t)
	f.Trial = Trial{}
	for i := range f.Mutating.Webhooks {
		f.Mutating.Webhooks[i].NamespaceSelector = &metav1.LabelSelector{
			MatchLabels: map[string]string{corev1.LabelMetadataName: "shop"},
		}
	}
	if err := (Gatherer{Client: c}).trial(t.Context(), &f); err != nil || f.Trial.Namespace != "shop" {
		t.Errorf("tried in %q, %v", f.Trial.Namespace, err)
	}
	f.Trial = Trial{}
	for i := range f.Namespaces {
		f.Namespaces[i].Status.Phase = corev1.NamespaceTerminating
	}
	if err := (Gatherer{Client: c}).trial(t.Context(), &f); err != nil || f.Trial.Namespace != "" ||
		!strings.Contains(f.Trial.Answer, "leave out every namespace") {
		t.Errorf("tried in %q, %v", f.Trial.Namespace, err)
	}
}
