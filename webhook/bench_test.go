package webhook

import (
	"context"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// BenchmarkContainers is one decision with its patch for pods of so many containers, each with two probes. Replicas of
// a workload share one generated configuration; the first of them is measured as "new".
func BenchmarkContainers(b *testing.B) {
	for _, n := range []int{1, 10, 30} {
		pod := webhooktest.Server()
		pod.Spec.Containers = nil
		for i := range n {
			probe := func(path string) *corev1.Probe {
				return &corev1.Probe{
					ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(20000 + i)}},
				}
			}
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
				Name: fmt.Sprintf(
					"c%d",
					i,
				), Image: "registry.example.org/team/app:v1", LivenessProbe: probe("/live"), ReadinessProbe: probe("/ready"),
				Ports: []corev1.ContainerPort{{ContainerPort: int32(20000 + i)}},
				Env:   []corev1.EnvVar{{Name: "A", Value: "a"}, {Name: "B", Value: "b"}},
			})
		}
		benchmark(b, fmt.Sprintf("containers=%d", n), pod)
	}
}

// BenchmarkUpstreams is the same for pods that call so many others.
func BenchmarkUpstreams(b *testing.B) {
	for _, n := range []int{1, 10, 50, 100} {
		pod := webhooktest.Server()
		var list strings.Builder
		for i := range n {
			fmt.Fprintf(
				&list,
				"- {listen: %d, address: \"service-%03d.some-namespace.svc:8443\", peers: [/ns/some-namespace/sa/service-%03d]}\n",
				20000+i,
				i,
				i,
			)
		}
		pod.Annotations[intent.AnnotationUpstreams] = list.String()
		benchmark(b, fmt.Sprintf("upstreams=%d", n), pod)
	}
}

func benchmark(b *testing.B, name string, pod *corev1.Pod) {
	for _, way := range []struct {
		name string
		kept *templates.Cache
	}{{"replica", templates.NewCache(1 << 20)}, {"new", nil}} {
		b.Run(name+"/"+way.name, func(b *testing.B) { decide(b, way.kept, pod) })
	}
}

// decide answers the API server, from the bytes of the request to the patch.
func decide(b *testing.B, kept *templates.Cache, pod *corev1.Pod) {
	p := webhooktest.Platform(b)
	data, err := runtimeJSON(pod)
	if err != nil {
		b.Fatal(err)
	}
	injector := inject.Injector{Platform: p, Generate: kept.Generate, Keep: kept.Keep}
	handler := &Handler{
		Injector:   func() inject.Injector { return injector },
		Registrar:  &spire{},
		Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}},
	}
	req := admission.Request{
		AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create,
			Namespace: "demo",
			Object:    runtime.RawExtension{Raw: data},
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		res := handler.Handle(context.Background(), req)
		if err := res.Complete(req); err != nil || !res.Allowed {
			b.Fatalf("allowed=%t, %v, %v", res.Allowed, res.Result, err)
		}
	}
}
