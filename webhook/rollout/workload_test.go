package rollout

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWorkloadOf(t *testing.T) {
	t.Parallel()
	owned := func(kind, name, hash string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name:            "it",
			Labels:          map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: hash},
			OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, Controller: new(true)}},
		}}
		if hash == "" {
			p.Labels = nil
		}
		return p
	}
	for want, pod := range map[string]*corev1.Pod{
		"Deployment/api":       owned("ReplicaSet", "api-5f6d", "5f6d"),
		"ReplicaSet/api-other": owned("ReplicaSet", "api-other", "5f6d"),
		"ReplicaSet/api":       owned("ReplicaSet", "api", ""),
		"StatefulSet/db-5f6d":  owned("StatefulSet", "db-5f6d", "5f6d"),
		"Pod/it":               {ObjectMeta: metav1.ObjectMeta{Name: "it"}},
	} {
		if got := workloadOf(pod); got != want {
			t.Errorf("expected %s, got %s", want, got)
		}
	}
}
