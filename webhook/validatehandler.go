package webhook

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

// Validator answers requests about pods with which all mutating webhooks are done: nobody, another webhook included,
// may alter what injection made, or bring it along. It has no effects.
type Validator struct {
	Injector   func() inject.Injector // the one in force, asked once for each request
	Namespaces NamespaceReader
	Metrics    *Metrics // nil: none
	Turns      *Turns   // of all handlers together; nil: unbounded
}

// Handle implements [admission.Handler].
func (v *Validator) Handle(ctx context.Context, req admission.Request) admission.Response {
	r := request{Request: req, webhook: ValidatePod, start: time.Now(), metrics: v.Metrics}
	res, err := v.handle(ctx, req)
	return r.answer(ctx, res, nil, err)
}

func (v *Validator) handle(ctx context.Context, req admission.Request) (inject.Result, error) {
	injector := v.Injector()
	rules := podRules{
		created: injector.ValidateCreated,
		changed: injector.ValidateUpdate,
		object:  injector.ValidateObject,
	}
	if req.SubResource != "" {
		rules.changed = injector.ValidateSubresource
	}
	d := decider{Namespaces: v.Namespaces, Turns: v.Turns, bounds: injector.Platform.Bounds}
	_, res, err := d.onPod(ctx, req, rules)
	return res, err
}
