package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/test/bench/scale"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// answerFigures are what one answer to a review of one pod costs a mutating webhook, in memory.
type answerFigures struct {
	By          string `json:"by"`
	Nanoseconds int64  `json:"nanoseconds"` // of processors
	Bytes       int64  `json:"bytes"`       // allocated
	Allocations int64  `json:"allocations"`
	Patch       int    `json:"patch"` // bytes
}

// measureAnswers asks the handlers, and not servers: the figures are without TLS and sockets.
func measureAnswers(ctx context.Context, _ settings, _ *cluster, r *report) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	injector, err := demoInjector(root)
	if err != nil {
		return err
	}
	const namespace = "demo"
	review, err := reviewOf(askedPod(namespace))
	if err != nil {
		return err
	}
	kept := templates.NewCache(1 << 20)
	again := injector
	again.Generate, again.Keep, again.Decisions = kept.Generate, kept.Keep, inject.NewDecisions()
	for _, of := range []struct {
		name     string
		injector inject.Injector
	}{{"ours, the first pod of a workload", injector}, {"ours, a further replica", again}} {
		figures, err := answersOf(ctx, of.injector, namespace, review)
		if err != nil {
			return fmt.Errorf("%s: %w", of.name, err)
		}
		figures.By = of.name
		r.Answers = append(r.Answers, figures)
	}
	istio, err := answersOfIstio(ctx, review)
	r.Answers = append(r.Answers, istio)
	return err
}

// askedPod is a pod as the API server sends it: with the volume of its service account's token.
func askedPod(namespace string) *corev1.Pod {
	pod := pendingPod(namespace, ours())
	pod.Spec.ServiceAccountName = "default"
	pod.Spec.Volumes = []corev1.Volume{{
		Name:         "kube-api-access-abcde",
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}},
	}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{
		Name:      pod.Spec.Volumes[0].Name,
		ReadOnly:  true,
		MountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
	}}
	return pod
}

// reviewOf is the body with which the API server asks about the creation of a pod.
func reviewOf(pod *corev1.Pod) ([]byte, error) {
	object, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       "1",
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: pod.Namespace,
			Operation: admissionv1.Create,
			Object:    runtime.RawExtension{Raw: object},
		},
	})
}

// asking returns what has the handler answer a review, with a patch.
func asking(ctx context.Context, injector inject.Injector, namespace string, review []byte) func() (patch []byte, err error) {
	handler := webhook.Reviews{Webhook: &admission.Webhook{
		LogConstructor: webhook.LogClaims,
		Handler: &webhook.Handler{
			Injector:   func() inject.Injector { return injector },
			Registrar:  registered{},
			Namespaces: oneNamespace{Name: namespace},
		},
	}}
	return func() ([]byte, error) {
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mutate-pod", bytes.NewReader(review))
		request.Header.Set("Content-Type", runtime.ContentTypeJSON)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		var out admissionv1.AdmissionReview
		if err := json.Unmarshal(recorder.Body.Bytes(), &out); err != nil {
			return nil, err
		}
		if out.Response == nil || !out.Response.Allowed || len(out.Response.Patch) == 0 {
			return nil, fmt.Errorf("expected a patch, got %+v", out.Response)
		}
		return out.Response.Patch, nil
	}
}

func answersOf(ctx context.Context, injector inject.Injector, namespace string, review []byte) (answerFigures, error) {
	ask := asking(ctx, injector, namespace, review)
	patch, err := ask()
	if err != nil {
		return answerFigures{}, err
	}
	var spent time.Duration
	figures := testing.Benchmark(func(b *testing.B) {
		before, err := scale.ProcessorTime()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := ask(); err != nil {
				b.Fatal(err)
			}
		}
		after, err := scale.ProcessorTime()
		if err != nil {
			b.Fatal(err)
		}
		spent = after - before
	})
	if figures.N == 0 {
		return answerFigures{}, errors.New("expected each review to be answered with a patch, got one that was not")
	}
	return answerFigures{
		Nanoseconds: spent.Nanoseconds() / int64(figures.N),
		Bytes:       figures.AllocedBytesPerOp(),
		Allocations: figures.AllocsPerOp(),
		Patch:       len(patch),
	}, nil
}

// answersOfIstio has Istio's webhook, in a program of its own, answer the same review.
func answersOfIstio(ctx context.Context, review []byte) (answerFigures, error) {
	cache, err := parts.UserCache()
	if err != nil {
		return answerFigures{}, err
	}
	program, err := parts.EnsureIstio(ctx, cache, os.Stderr)
	if err != nil {
		return answerFigures{}, err
	}
	cmd := exec.CommandContext(ctx, program)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(review), &stderr
	text, err := cmd.Output()
	if err != nil {
		return answerFigures{}, fmt.Errorf("measuring Istio's webhook: %w: %s", err, stderr.String())
	}
	var printed struct {
		answerFigures
		Patch []byte `json:"patch"`
	}
	if err := json.Unmarshal(text, &printed); err != nil {
		return answerFigures{}, fmt.Errorf("decoding what Istio's webhook cost: %w", err)
	}
	figures := printed.answerFigures
	figures.By, figures.Patch = "Istio, its profile default", len(printed.Patch)
	return figures, nil
}

// registered is a registrar that finds every entry there.
type registered struct{}

func (registered) Ensure(context.Context, []registrar.Workload) ([]string, error) { return nil, nil }

// oneNamespace is all there is.
type oneNamespace intent.Namespace

func (n oneNamespace) Namespace(context.Context, string) (intent.Namespace, error) {
	return intent.Namespace(n), nil
}

func (n oneNamespace) Live(ctx context.Context, name string) (intent.Namespace, error) {
	return n.Namespace(ctx, name)
}

func printAnswers(t io.Writer, figures []answerFigures) {
	title(t, "One answer to a review of a pod, in memory")
	row(t, "by", "µs of processors", "bytes", "allocations", "patch")
	for _, f := range figures {
		row(t, f.By, f.Nanoseconds/1000, f.Bytes, f.Allocations, f.Patch)
	}
}
