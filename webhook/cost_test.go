package webhook

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// largePods are of n things each that no annotation of ours says, and that nobody counts but the API server in bytes.
func largePods(n int) map[string]*corev1.Pod {
	all := map[string]*corev1.Pod{}
	of := func(name string, change func(pod *corev1.Pod)) {
		for _, mode := range []string{"sidecar", "sidecar,socket"} {
			pod := webhooktest.Server()
			pod.Annotations[intent.AnnotationMode] = mode
			change(pod)
			all[name+", "+mode] = pod
		}
	}
	of("variables", func(pod *corev1.Pod) {
		for i := range n {
			pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprint("V", i), Value: "x"})
		}
	})
	of("mounts", func(pod *corev1.Pod) {
		for i := range n {
			pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts,
				corev1.VolumeMount{Name: fmt.Sprint("v", i), MountPath: fmt.Sprint("/v", i)})
		}
	})
	of("volumes", func(pod *corev1.Pod) {
		for i := range n {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i)})
		}
	})
	of("arguments", func(pod *corev1.Pod) { pod.Spec.Containers[0].Args = make([]string, n) })
	of("labels", func(pod *corev1.Pod) {
		for i := range n {
			pod.Labels[fmt.Sprint("l", i)] = "x"
		}
	})
	of("others' annotations", func(pod *corev1.Pod) {
		for i := range n {
			pod.Annotations[fmt.Sprint("example.org/", i)] = "x"
		}
	})
	of("sysctls", func(pod *corev1.Pod) {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: make([]corev1.Sysctl, n)}
	})
	of("host aliases", func(pod *corev1.Pod) { pod.Spec.HostAliases = make([]corev1.HostAlias, n) })
	of("tolerations", func(pod *corev1.Pod) { pod.Spec.Tolerations = make([]corev1.Toleration, n) })
	return all
}

// The memory that an admission takes, freed or not, is at most so much for what a pod asks for by annotations, and so much
// for each byte that arrives; so is its processor time, collecting garbage included.
const (
	maxCost     = 32 << 20
	costOfAByte = 512
	maxTime     = 500 * time.Millisecond
	timeOfAByte = 5 * time.Microsecond
)

// TestCostGrowsWithSize: four times as much of anything costs some four times as much, and not its square.
func TestCostGrowsWithSize(t *testing.T) {
	few, many := largePods(2000), largePods(8000)
	for name := range few {
		small, _, smallSize := costOf(t, few[name])
		large, _, largeSize := costOf(t, many[name])
		if growth := float64(large) / float64(small); growth > 1.5*float64(largeSize)/float64(smallSize) {
			t.Errorf("%s: %d bytes cost %d, and %d bytes %d", name, smallSize, small, largeSize, large)
		}
		if large > costOfAByte*largeSize {
			t.Errorf("%s: %d bytes cost %d", name, largeSize, large)
		}
	}
}

// FuzzCost watches what admissions of whatever is written in annotations cost.
func FuzzCost(f *testing.F) {
	for _, hostile := range webhooktest.HostilePods(1) {
		a := hostile.Pod.Annotations
		f.Add(a[intent.AnnotationInbound], a[intent.AnnotationUpstreams], a[intent.AnnotationAllowedPeers],
			a[intent.AnnotationAppPort], a[intent.AnnotationMode], "{}")
	}
	f.Fuzz(func(t *testing.T, inbound, upstreams, peers, port, mode, resources string) {
		pod := webhooktest.Server()
		for key, text := range map[string]string{
			intent.AnnotationInbound:        inbound,
			intent.AnnotationUpstreams:      upstreams,
			intent.AnnotationAllowedPeers:   peers,
			intent.AnnotationAppPort:        port,
			intent.AnnotationMode:           mode,
			intent.AnnotationProxyResources: resources,
		} {
			if delete(pod.Annotations, key); text != "" {
				pod.Annotations[key] = text
			}
		}
		cost, took, size := costOf(t, pod)
		if cost > maxCost+costOfAByte*size {
			t.Errorf("%d bytes cost %d", size, cost)
		}
		most := maxTime + time.Duration(size)*timeOfAByte
		for range 3 { // of a busy machine the caches are others', too
			if took > most {
				_, took, _ = costOf(t, pod)
			}
		}
		if took > most {
			t.Errorf("%d bytes took %s of processor time, expected at most %s", size, took, most)
		}
	})
}

// costOf is how many bytes the admission of a pod allocates, how much processor time it takes, and how large the pod
// is.
func costOf(t *testing.T, pod *corev1.Pod) (cost int, took time.Duration, size int) {
	t.Helper()
	handler, _ := hostileHandler(t, namespaces{cached: intent.Namespace{Name: "demo"}})
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, pod),
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := processorTime(t)
	handler.Handle(context.Background(), req)
	took = processorTime(t) - began
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc), took, len(req.Object.Raw)
}

// processorTime is that of this program so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
