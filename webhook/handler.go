package webhook

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
)

// Handler answers requests about pods: it decides with Injector, registers, and only then admits.
type Handler struct {
	Injector   func() inject.Injector // the one in force, asked once for each request
	Registrar  Registrar
	Namespaces NamespaceReader
	Metrics    *Metrics // nil: none
	Turns      *Turns   // of all handlers together; nil: unbounded
	Callees    *Callees // nil: who is called is not looked for
	// Served says which namespaces the API server asks this injector about; nil: all. Pods of others are not registered.
	Served func(ctx context.Context) (Serves, error)
}

// Handle implements [admission.Handler].
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	r := request{Request: req, webhook: MutatePod, start: time.Now(), metrics: h.Metrics}
	res, patch, err := h.handle(ctx, req)
	return r.answer(ctx, res, patch, err)
}

// handle returns the decision on a pod, and the patch that goes with it.
func (h *Handler) handle(ctx context.Context, req admission.Request) (inject.Result, []byte, error) {
	injector := h.Injector()
	rules := podRules{created: injector.Create, changed: injector.Update}
	d := decider{Namespaces: h.Namespaces, Turns: h.Turns, bounds: injector.Platform.Bounds}
	pod, res, err := d.onPod(ctx, req, rules)
	if err != nil {
		return inject.Result{}, nil, err
	}
	// The effect comes last, when nothing of ours can deny the pod any more.
	r := registration{
		decision:      res.Reason,
		workloads:     res.Workloads,
		dryRun:        dryRun(req),
		deferred:      inject.StatusOf(pod).Deferred,
		onUnavailable: injector.Platform.OnUnavailable,
	}
	if r.verdict() == register {
		if err := h.wantServed(ctx, req.Namespace); err != nil {
			return inject.Result{}, nil, err
		}
		r.asked, r.err = true, ensure(ctx, h.Registrar, res.Workloads)
	}
	switch r.verdict() {
	case deny:
		return inject.Result{}, nil, r.err
	case admitDeferred:
		err = d.inTurn(ctx, req, func() (err error) {
			res, err = inject.Deferred(res)
			return err
		})
		if err != nil {
			return inject.Result{}, nil, err
		}
		res.Reason = reason.RegistrationDeferred
	default:
	}
	patch, err := res.JSONPatch(pod)
	return h.Callees.warn(ctx, res), patch, err
}
