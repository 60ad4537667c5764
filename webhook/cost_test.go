package webhook

import (
	"context"
	"fmt"
	"runtime"
	"testing"

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
// for each byte that arrives.
const (
	maxCost     = 32 << 20
	costOfAByte = 512
)

// TestCostGrowsWithSize: four times as much of anything costs some four times as much, and not its square.
func TestCostGrowsWithSize(t *testing.T) {
	few, many := largePods(2000), largePods(8000)
	for name := range few {
		small, smallSize := costOf(t, few[name])
		large, largeSize := costOf(t, many[name])
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
		if cost, size := costOf(t, pod); cost > maxCost+costOfAByte*size {
			t.Errorf("%d bytes cost %d", size, cost)
		}
	})
}

// costOf is how many bytes the admission of a pod allocates, and how large the pod is.
func costOf(t *testing.T, pod *corev1.Pod) (cost, size int) {
	t.Helper()
	handler, _ := hostileHandler(t, namespaces{cached: intent.Namespace{Name: "demo"}})
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "demo", Object: raw(t, pod),
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	handler.Handle(context.Background(), req)
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc), len(req.Object.Raw)
}
