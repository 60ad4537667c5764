package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// benchmarkPod is one of a workload's replicas, as the API server sends it.
func benchmarkPod(n int) *corev1.Pod {
	pod := webhooktest.Server()
	pod.GenerateName = "api-"
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "api", UID: "1"}}
	token := fmt.Sprintf("kube-api-access-%05d", n)
	pod.Spec.Volumes = []corev1.Volume{{Name: token, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
		{Name: token, ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"},
	}
	return pod
}

// benchmarkInjectors are in force where replicas are remembered, and where each pod is the first of its workload. The
// configuration of Envoy is the same for all.
func benchmarkInjectors(b *testing.B) map[string]inject.Injector {
	kept := templates.NewCache(1 << 20)
	each := inject.Injector{Platform: webhooktest.Platform(b), Generate: kept.Generate, Keep: kept.Keep}
	all := each
	all.Decisions = inject.NewDecisions()
	return map[string]inject.Injector{"replica": all, "first": each}
}

// BenchmarkAdmission is one call of the mutating webhook, from the bytes of the request to those of the answer.
func BenchmarkAdmission(b *testing.B) {
	for name, injector := range benchmarkInjectors(b) {
		handler := &Handler{
			Injector:   func() inject.Injector { return injector },
			Registrar:  &spire{},
			Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}},
		}
		b.Run(name, func(b *testing.B) { benchmarkReviews(b, handler, benchmarkPod) })
	}
}

// BenchmarkValidation is one call of the validating webhook for what the mutating one has made.
func BenchmarkValidation(b *testing.B) {
	for name, injector := range benchmarkInjectors(b) {
		handler := &Validator{
			Injector:   func() inject.Injector { return injector },
			Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}},
		}
		b.Run(name, func(b *testing.B) {
			benchmarkReviews(b, handler, func(n int) *corev1.Pod {
				injected, err := injector.Inject(intent.Namespace{Name: "demo"}, benchmarkPod(n))
				if err != nil {
					b.Fatal(err)
				}
				injected.Pod.Name, injected.Pod.UID = fmt.Sprintf("api-%05d", n), types.UID(fmt.Sprint(n))
				return injected.Pod
			})
		})
	}
}

// benchmarkReviews asks about pods, one after the other.
func benchmarkReviews(b *testing.B, handler admission.Handler, pod func(n int) *corev1.Pod) {
	var bodies [][]byte
	for n := range 16 {
		object, err := runtimeJSON(pod(n))
		if err != nil {
			b.Fatal(err)
		}
		asked := admissionv1.AdmissionReview{TypeMeta: reviewType, Request: &admissionv1.AdmissionRequest{
			UID:       types.UID(fmt.Sprint(n)),
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Operation: admissionv1.Create,
			Namespace: "demo",
			Object:    runtime.RawExtension{Raw: object},
		}}
		body, err := json.Marshal(asked)
		if err != nil {
			b.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	reviews := Reviews{&admission.Webhook{Handler: handler, LogConstructor: LogClaims}}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		body := bodies[n%len(bodies)]
		request := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", bytes.NewReader(body))
		request.Header.Set("Content-Type", runtime.ContentTypeJSON)
		answer := httptest.NewRecorder()
		reviews.ServeHTTP(answer, request)
		if !bytes.Contains(answer.Body.Bytes(), []byte(`"allowed":true`)) {
			b.Fatalf("expected it to be admitted, got %s", answer.Body)
		}
	}
}
