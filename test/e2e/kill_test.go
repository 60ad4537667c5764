package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// kill ends a process in a pod of one container by SIGKILL, at once; the kubelet starts it again. A deleted pod is told
// to end first, also by force, and goes on for seconds.
func kill(t *testing.T, signal signals, namespace, pod, process string) {
	t.Helper()
	send(t, signal, "KILL", namespace, pod, process)
}

// send gives a signal to a process of a pod's container.
func send(t *testing.T, signal signals, name, namespace, pod, process string) {
	t.Helper()
	container, _ := incarnation(t, namespace, pod)
	_, number, _ := strings.Cut(container, "://")
	if number == "" {
		t.Fatalf("pod %s has no container to send %s to %s in", pod, name, process)
	}
	must(t, signal(process, name, "--cgroup", number))
}

// wantKilled waits until the kubelet has noticed that a pod's container was killed, and not ended in another way.
func wantKilled(t *testing.T, namespace, pod string) {
	t.Helper()
	eventually(t, "a killed container of "+pod, func() error {
		var now corev1.Pod
		if err := shared.k.Get(t.Context(), &now, "pod", pod, "--namespace", namespace); err != nil {
			return err
		}
		status := now.Status.ContainerStatuses[0]
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if state.Terminated != nil && state.Terminated.ExitCode == 128+int32(syscall.SIGKILL) {
				return nil
			}
		}
		return fmt.Errorf("its state is %+v", status)
	})
}

// incarnation tells a pod's container from the one before it and after it, and says whether it is ready.
func incarnation(t *testing.T, namespace, pod string) (which string, ready bool) {
	t.Helper()
	var now corev1.Pod
	if err := shared.k.Get(t.Context(), &now, "pod", pod, "--namespace", namespace); err != nil || len(now.Status.ContainerStatuses) != 1 {
		return "", false
	}
	status := now.Status.ContainerStatuses[0]
	return status.ContainerID, status.Ready
}

// backAfter waits for the next incarnation of a pod's container to be ready after an act that ends this one.
func backAfter(t *testing.T, namespace, pod string, act func()) {
	t.Helper()
	before, _ := incarnation(t, namespace, pod)
	act()
	took := eventually(t, pod+" to be back", func() error {
		if now, ready := incarnation(t, namespace, pod); now == before || !ready {
			return fmt.Errorf("it was %s, it is %s, ready: %t", before, now, ready)
		}
		return nil
	})
	t.Logf("%s was back after %.1f s", pod, took.Seconds())
}
