package inject

import (
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// defaultGracePeriod is what the API server gives to pods that say nothing, in seconds.
const defaultGracePeriod = 30

// drainPart lets the containers of a pod that is called go on for a while after it was deleted, until its callers have
// found another one.
var drainPart = part{
	wanted: func(i injection) bool {
		isCalled := i.intent.Mode.Envoy() && len(i.intent.Proxy.Inbound) > 0
		return isCalled && i.Platform.Drain > 0 && i.Kubernetes.hasSleepHooks()
	},
	add: addDrain,
	remove: func(pod *corev1.Pod, was Status) {
		for c := range intent.ContainersOf(pod) {
			if slices.Contains(was.Draining, c.Name) {
				removeDrain(c)
				shortenProbes(c, was)
			}
		}
		if len(was.Draining) > 0 {
			pod.Spec.TerminationGracePeriodSeconds = was.GracePeriod
		}
	},
	same: sameDrain,
}

// addDrain gives the hook to containers that have none: one with a preStop hook of its own knows what it does.
func addDrain(i injection, pod *corev1.Pod) {
	seconds := int64(i.Platform.Drain / time.Second)
	for n := range pod.Spec.Containers {
		c := &pod.Spec.Containers[n]
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
			continue
		}
		if c.Lifecycle == nil {
			c.Lifecycle = &corev1.Lifecycle{}
		}
		c.Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}
		i.status.Draining = append(i.status.Draining, c.Name)
		prolongProbes(c, seconds, i.status)
	}
	if len(i.status.Draining) == 0 {
		return
	}
	was := int64(defaultGracePeriod)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		was = *pod.Spec.TerminationGracePeriodSeconds
	}
	i.status.GracePeriod = &was
	pod.Spec.TerminationGracePeriodSeconds = new(prolonged(was, seconds))
}

// prolonged is a grace period with the time for draining.
func prolonged(was, seconds int64) int64 { return min(max(was, 0), math.MaxInt64-seconds) + seconds }

func sameDrain(arrived, injected *corev1.Pod) []intent.Mistake {
	mistakes := sameInContainers(arrived, injected, func(c corev1.Container) any {
		return corev1.Container{Lifecycle: c.Lifecycle}
	})
	want, got := injected.Spec.TerminationGracePeriodSeconds, arrived.Spec.TerminationGracePeriodSeconds
	if want != nil && (got == nil || *got != *want) {
		mistakes = append(mistakes, isAltered("spec.terminationGracePeriodSeconds"))
	}
	return mistakes
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
