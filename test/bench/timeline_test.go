package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// at is so many seconds after some start.
func at(s float64) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

func TestTimelineSeesEachStepOnce(t *testing.T) {
	pod := &corev1.Pod{}
	var got timeline
	got.see(pod, at(1))
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse}}
	got.see(pod, at(2))
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	got.see(pod, at(3))
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "other", Started: new(true)}, {Name: "envoy", Started: new(false)}}
	got.see(pod, at(4))
	pod.Status.InitContainerStatuses[1].Started = new(true)
	got.see(pod, at(5))
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "api", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}}
	got.see(pod, at(6))
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	got.see(pod, at(7))
	got.see(pod, at(8))
	want := timeline{created: at(1), scheduled: at(3), sidecarReady: at(5), appStarted: at(7)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}

func TestWhatIsShownLateWasDoneBefore(t *testing.T) {
	got := timeline{created: at(1), scheduled: at(2), envoyStarted: at(3), sidecarReady: at(9), appStarted: at(6)}
	got.settle()
	want := timeline{created: at(1), scheduled: at(2), envoyStarted: at(3), svidReceived: at(6), sidecarReady: at(6), appStarted: at(6)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}

func TestDurationsWaitForTheSlowerPod(t *testing.T) {
	api := timeline{created: at(1), scheduled: at(1.5), envoyStarted: at(2), svidReceived: at(8), sidecarReady: at(9), appStarted: at(9.5)}
	client := timeline{created: at(1.25), scheduled: at(1.25), envoyStarted: at(4), svidReceived: at(5), sidecarReady: at(5.5), appStarted: at(6)}
	got := durations(at(0), []timeline{api, client}, at(10))
	var sum time.Duration
	for _, p := range got {
		sum += time.Duration(p)
	}
	if sum != 10*time.Second {
		t.Errorf("the parts add up to %v, want 10s", sum)
	}
	s := func(v float64) seconds { return seconds(v * float64(time.Second)) }
	want := [steps + 1]seconds{created: s(1.25), scheduled: s(0.25), envoyStarted: s(2.5), svidReceived: s(4), sidecarReady: s(1), appStarted: s(0.5), steps: s(0.5)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}
