package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// WorkloadValidator answers requests about what makes pods, a Deployment for one: its author learns of a mistake when
// applying it, in the words with which its pods would be denied, and not from events of a ReplicaSet. It has no
// effects.
type WorkloadValidator struct {
	Injector   func() inject.Injector // the one in force, asked once for each request
	Namespaces NamespaceReader
	Metrics    *Metrics // nil: none
}

// Handle implements [admission.Handler].
func (v *WorkloadValidator) Handle(ctx context.Context, req admission.Request) admission.Response {
	r := request{Request: req, webhook: validateWorkload, start: time.Now(), metrics: v.Metrics}
	res, err := v.handle(ctx, req)
	return r.answer(ctx, res, nil, err)
}

func (v *WorkloadValidator) handle(ctx context.Context, req admission.Request) (inject.Result, error) {
	pod, err := template(req, req.Object.Raw)
	if err != nil {
		return inject.Result{}, err
	}
	if req.Operation == admissionv1.Update {
		before, err := template(req, req.OldObject.Raw)
		if err != nil {
			return inject.Result{}, err
		}
		if reflect.DeepEqual(before, pod) { // what is wrong with it now was so before, and must not hinder scaling it down
			return inject.Result{Decision: intent.Decision{Reason: reason.Unchanged}}, nil
		}
	}
	injector := v.Injector()
	res, err := inNamespace(ctx, v.Namespaces, req.Namespace, func(ns intent.Namespace) (inject.Result, error) {
		return injector.Inject(ns, pod)
	})
	if err != nil {
		return inject.Result{}, fmt.Errorf("the pods of this %s would be denied: %w", req.Kind.Kind, err)
	}
	return res, nil
}

// template is the pod that an object's pods are made of.
func template(req admission.Request, object json.RawMessage) (*corev1.Pod, error) {
	kind := req.Kind.Version + "/" + req.Kind.Kind
	if req.Kind.Group != "" {
		kind = req.Kind.Group + "/" + kind
	}
	pointer, hasPod := inject.PodPointer(kind)
	if !hasPod {
		return nil, fmt.Errorf("expected a kind that has pods, got %s", kind)
	}
	raw, err := inject.At(object, pointer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return nil, fmt.Errorf("%s: decoding its pod template: %w", kind, err)
	}
	return &pod, nil
}
