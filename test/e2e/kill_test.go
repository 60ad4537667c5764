package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/images"
)

// kill ends all processes of a name in a pod by SIGKILL. From within a container nobody can do that to its process 1, so a pod
// does that sees the processes of its node.
func kill(t *testing.T, namespace, pod, process string) {
	t.Helper()
	var victim corev1.Pod
	must(t, shared.k.Get(t.Context(), &victim, "pod", pod, "--namespace", namespace))
	uid := string(victim.UID)
	// A cgroup's name has the pod's UID, with or without its hyphens.
	script := fmt.Sprintf(`pids=
for p in /proc/[0-9]*; do
	[ "$(cat $p/comm 2>/dev/null)" = %s ] && grep -q -e %s -e %s $p/cgroup && pids="$pids ${p#/proc/}"
done
kill -9 $pids`, process, uid, strings.ReplaceAll(uid, "-", "_"))
	killer := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "kill-" + pod, Namespace: "spire"}, // where pods may see the node
		Spec: corev1.PodSpec{
			NodeName: victim.Spec.NodeName, HostPID: true, RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "kill", Image: images.Busybox, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"/bin/sh", "-c", script},
			}},
		},
	}
	apply(t, killer)
	defer k(t, "spire", "delete", "pod", killer.Name, "--wait=false", "--grace-period=1")
	eventually(t, "the end of "+process+" in "+pod, func() error {
		var now corev1.Pod
		if err := shared.k.Get(t.Context(), &now, "pod", killer.Name, "--namespace", "spire"); err != nil {
			return err
		}
		if now.Status.Phase == corev1.PodFailed {
			logs, err := shared.k.Run(t.Context(), "--namespace", "spire", "logs", killer.Name)
			t.Fatalf("nothing was killed: %s (%v)", logs, err)
		}
		if now.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("the pod that kills is %s", now.Status.Phase)
		}
		return nil
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
