package scene

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestSamePod(t *testing.T) {
	pod := func(change func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{}
		p.UID = "u"
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: Sidecar, RestartCount: 1}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app"}}
		change(&p)
		return p
	}
	before := pod(func(*corev1.Pod) {})
	for name, test := range map[string]struct {
		after corev1.Pod
		same  bool
	}{
		"nothing":          {before, true},
		"an annotation":    {pod(func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }), true},
		"the sidecar":      {pod(func(p *corev1.Pod) { p.Status.InitContainerStatuses[0].RestartCount = 2 }), false},
		"the app":          {pod(func(p *corev1.Pod) { p.Status.ContainerStatuses[0].RestartCount = 1 }), false},
		"the pod, by name": {pod(func(p *corev1.Pod) { p.UID = "v" }), false},
	} {
		if err := SamePod(before, test.after); (err == nil) != test.same {
			t.Errorf("changed %s: got %v", name, err)
		}
	}
}
