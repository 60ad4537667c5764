package webhook

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Validator answers the API server's questions about pods with which all mutating webhooks are done: nobody, another webhook
// included, may alter what injection made, or bring it along. It has no effects.
type Validator struct {
	Injector   func() inject.Injector // the one in force, asked once for each request
	Namespaces NamespaceReader
	Decoder    admission.Decoder
	Metrics    *Metrics // nil: none
}

// Handle implements [admission.Handler].
func (v *Validator) Handle(ctx context.Context, req admission.Request) admission.Response {
	start := time.Now()
	res, err := v.handle(ctx, req)
	return answer(ctx, v.Metrics, validatePod, req, start, res, nil, err)
}

func (v *Validator) handle(ctx context.Context, req admission.Request) (inject.Result, error) {
	before, pod, err := podsOf(v.Decoder, req)
	if err != nil {
		return inject.Result{}, err
	}
	injector := v.Injector()
	return inNamespace(ctx, v.Namespaces, req.Namespace, func(ns intent.Namespace) (inject.Result, error) {
		if req.Operation == admissionv1.Update {
			return injector.ValidateUpdate(ns, before, pod)
		}
		return injector.Validate(ns, pod)
	})
}
