package webhook

import (
	"context"
	"encoding/json"
	"errors"
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
	Turns      *Turns   // of all handlers together; nil: unbounded
	Callees    *Callees // nil: who is called is not looked for
}

// Handle implements [admission.Handler].
func (v *WorkloadValidator) Handle(ctx context.Context, req admission.Request) admission.Response {
	r := request{Request: req, webhook: ValidateWorkload, start: time.Now(), metrics: v.Metrics}
	res, err := v.handle(ctx, req)
	return r.answer(ctx, res, nil, err)
}

func (v *WorkloadValidator) handle(ctx context.Context, req admission.Request) (inject.Result, error) {
	injector := v.Injector()
	d := decider{Namespaces: v.Namespaces, Turns: v.Turns, bounds: injector.Platform.Bounds}
	var pod *corev1.Pod
	read := func() (err error) {
		pod, err = changedTemplate(req)
		return err
	}
	res, err := d.inNamespace(ctx, req, read, func(ns intent.Namespace) (inject.Result, error) {
		if pod == nil {
			return inject.Result{Decision: intent.Decision{Reason: reason.Unchanged}}, nil
		}
		return injector.Inject(ns, pod)
	})
	var refusal *intent.Refusal
	if errors.As(err, &refusal) {
		return inject.Result{}, fmt.Errorf("the pods of this %s would be denied: %w", req.Kind.Kind, err)
	}
	return v.Callees.warn(ctx, res), err
}

// changedTemplate is the pod that an object's pods are made of; nil if an update leaves it as it was: what is wrong
// with it now was so before, and must not hinder scaling it down.
func changedTemplate(req admission.Request) (*corev1.Pod, error) {
	pod, err := template(req, req.Object.Raw)
	if err != nil || req.Operation != admissionv1.Update {
		return pod, err
	}
	before, err := template(req, req.OldObject.Raw)
	if err != nil || reflect.DeepEqual(before, pod) {
		return nil, err
	}
	return pod, nil
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
