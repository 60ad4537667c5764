package scene

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// SamePod is nil if a pod is the one that it was before, and none of its containers was restarted meanwhile. Otherwise
// the error is a [Mismatch].
func SamePod(before, after corev1.Pod) error {
	if before.UID == after.UID && Restarts(before) == Restarts(after) {
		return nil
	}
	show := func(p corev1.Pod) string {
		return fmt.Sprintf("%s with UID %s, restarted %d times", p.Name, p.UID, Restarts(p))
	}
	return &Mismatch{
		What: "pod " + before.Name + " after the change", Expected: show(before), Got: show(after),
		Look: In(after.Namespace, "get", "pod", after.Name, "-o", "yaml").String(),
	}
}

// Restarts is how often a pod's containers were restarted, all of them together.
func Restarts(p corev1.Pod) int32 {
	var n int32
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range statuses {
			n += c.RestartCount
		}
	}
	return n
}
