package intent

import (
	"iter"

	corev1 "k8s.io/api/core/v1"
)

// containersOf are all containers of a pod, to be changed in place: init containers first, as they start.
func ContainersOf(pod *corev1.Pod) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}
