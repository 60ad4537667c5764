package main

import (
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// noScheduler is no scheduler's name. What one would write of a pod that fits no node is no cost of the pod's creation.
const noScheduler = "none.bench.spire-injector.example"

// pendingPod is a pod that nobody schedules, as a ReplicaSet's controller would create it. Without its webhook the
// annotations are only text, so that all variants send the same bytes but for one label.
func pendingPod(namespace string, v variant) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "api-",
			Namespace:    namespace,
			Labels: map[string]string{
				"app":                                  "api",
				appsv1.DefaultDeploymentUniqueLabelKey: "6c9f8d5b7c",
				v.label:                                v.value,
			},
			Annotations: map[string]string{
				intent.AnnotationSPIFFEID:     "/ns/" + namespace + "/sa/default",
				intent.AnnotationAppPort:      "8080",
				intent.AnnotationAllowedPeers: "/valid-api-client",
				intent.AnnotationX509SVIDTTL:  "30s",
			},
		},
		Spec: corev1.PodSpec{
			SchedulerName: noScheduler,
			Containers: []corev1.Container{{
				Name:            "api",
				Image:           sampleImage,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Args:            []string{"api", "--listen", "127.0.0.1:8080"},
			}},
		},
	}
}

// request is the body that creates the pod.
func request(pod *corev1.Pod) ([]byte, error) { return json.Marshal(pod) }
