package webhook

import (
	"context"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// BenchmarkAdmission is one decision with its patch, from the request's bytes to the answer's operations.
func BenchmarkAdmission(b *testing.B) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		b.Fatal(err)
	}
	p := webhooktest.Platform(b)
	data, err := runtimeJSON(webhooktest.Server())
	if err != nil {
		b.Fatal(err)
	}
	kept := templates.NewCache(1 << 20)
	injector := inject.Injector{Platform: p, Generate: kept.Generate, Keep: kept.Keep}
	handler := &Handler{
		Injector:   func() inject.Injector { return injector },
		Registrar:  &spire{},
		Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}},
		Decoder:    admission.NewDecoder(scheme),
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
			b.Fatalf("allowed=%t, %v", res.Allowed, err)
		}
	}
}

// BenchmarkValidation is one look at a finished pod.
func BenchmarkValidation(b *testing.B) {
	p := webhooktest.Platform(b)
	kept := templates.NewCache(1 << 20)
	injector := inject.Injector{Platform: p, Generate: kept.Generate, Keep: kept.Keep}
	injected, err := injector.Inject(intent.Namespace{Name: "demo"}, webhooktest.Server())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := injector.Validate(intent.Namespace{Name: "demo"}, injected.Pod); err != nil {
			b.Fatal(err)
		}
	}
}
