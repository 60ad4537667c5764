package inject

import (
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// defaultGracePeriod is what the API server gives to pods that say nothing, in seconds.
const defaultGracePeriod = 30

// addDrain lets the containers of a pod that is called go on for a while after it was deleted, until its callers have found
// another one. It returns the containers that were given the hook, and the grace period as it was. A container with a preStop hook
// of its own knows what it does.
func addDrain(pod *corev1.Pod, drain time.Duration) (containers []string, gracePeriod *int64) {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
			continue
		}
		if c.Lifecycle == nil {
			c.Lifecycle = &corev1.Lifecycle{}
		}
		c.Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: int64(drain / time.Second)}}
		containers = append(containers, c.Name)
	}
	if len(containers) == 0 {
		return nil, nil
	}
	was := int64(defaultGracePeriod)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		was = *pod.Spec.TerminationGracePeriodSeconds
	}
	seconds := int64(drain / time.Second)
	pod.Spec.TerminationGracePeriodSeconds = new(min(max(was, 0), math.MaxInt64-seconds) + seconds)
	return containers, &was
}

func removeDrain(c *corev1.Container) {
	if c.Lifecycle == nil {
		return
	}
	c.Lifecycle.PreStop = nil
	if *c.Lifecycle == (corev1.Lifecycle{}) {
		c.Lifecycle = nil
	}
}
