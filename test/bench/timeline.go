package main

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// step is a thing that happens to a pod on its way to the first call, in the order in which they happen.
type step int

const (
	created step = iota
	scheduled
	envoyStarted
	svidReceived
	sidecarReady // its startup probe has passed
	appStarted
	steps // their number
)

// stepNames end the sentence "until".
func stepNames() [steps]string {
	return [steps]string{
		created:      "pods exist (kubectl, controllers, admission)",
		scheduled:    "scheduled",
		envoyStarted: "Envoy has read its bootstrap",
		svidReceived: "Envoy has its SVID and bundle",
		sidecarReady: "startup probe passed",
		appStarted:   "apps started",
	}
}

// timeline is when each step was seen to be done; zero if it was not yet.
type timeline [steps]time.Time

// see records what is new in a pod that the API server shows.
func (t *timeline) see(pod *corev1.Pod, now time.Time) {
	first := func(s step, done bool) {
		if done && t[s].IsZero() {
			t[s] = now
		}
	}
	first(created, true)
	for _, condition := range pod.Status.Conditions {
		first(scheduled, condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionTrue)
	}
	for _, status := range pod.Status.InitContainerStatuses {
		first(sidecarReady, status.Name == intent.SidecarName && status.Started != nil && *status.Started)
	}
	for _, status := range pod.Status.ContainerStatuses {
		first(appStarted, status.State.Running != nil)
	}
}

// settle makes the times consistent: the API server shows some things late, and what is done cannot be later than what
// follows from it.
func (t *timeline) settle() {
	for s := steps - 2; s >= 0; s-- {
		t[s] = earlier(t[s], t[s+1])
	}
}

// earlier is the earlier of two times, of which a zero one is unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// durations are how long each step took when all pods had to make it before the next counts, and the last one is until
// end.
func durations(start time.Time, pods []timeline, end time.Time) [steps + 1]seconds {
	var out [steps + 1]seconds
	before := start
	for s := range steps {
		done := before
		for _, t := range pods {
			if t[s].After(done) {
				done = t[s]
			}
		}
		out[s] = seconds(done.Sub(before))
		before = done
	}
	out[steps] = seconds(end.Sub(before))
	return out
}
