package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar"
)

// registerTimeout bounds the wait for SPIRE, well below the ten seconds after which the API server stops waiting for us and
// says only "context deadline exceeded".
const registerTimeout = 6 * time.Second

// Registrar makes sure that a workload has its entry in SPIRE. It may be called many times and concurrently for one workload.
type Registrar interface {
	Ensure(ctx context.Context, w registrar.Workload) (entryID string, err error)
}

// NamespaceReader finds the namespace of a pod. Live reads around every cache.
type NamespaceReader interface {
	Namespace(ctx context.Context, name string) (Namespace, error)
	Live(ctx context.Context, name string) (Namespace, error)
}

// Handler answers the API server's questions about pods: it decides with Injector, registers, and only then admits.
type Handler struct {
	Injector   Injector
	Registrar  Registrar
	Namespaces NamespaceReader
	Decoder    admission.Decoder
}

// Handle implements [admission.Handler].
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	start := time.Now()
	res, ops, err := h.handle(ctx, req)
	logger := log.FromContext(ctx).WithValues("operation", req.Operation, "dryRun", dryRun(req))
	if err != nil {
		reason, code := classify(err)
		logger.Info("refused", "reason", reason, "error", err.Error(), "duration", time.Since(start))
		return denied(code, reason, err)
	}
	logger.Info("admitted", "reason", res.Reason, "spiffeID", spiffeIDOf(res), "duration", time.Since(start))
	if len(ops) == 0 {
		return admission.Allowed(string(res.Reason))
	}
	return admission.Patched(string(res.Reason), ops...)
}

func (h *Handler) handle(ctx context.Context, req admission.Request) (Result, []Operation, error) {
	var pod corev1.Pod
	if err := h.Decoder.DecodeRaw(req.Object, &pod); err != nil {
		return Result{}, nil, fmt.Errorf("decoding the pod: %w", err)
	}
	var before corev1.Pod
	if req.Operation == admissionv1.Update {
		if err := h.Decoder.DecodeRaw(req.OldObject, &before); err != nil {
			return Result{}, nil, fmt.Errorf("decoding the pod as it was: %w", err)
		}
	}
	decide := func(ns Namespace) (Result, error) {
		if req.Operation == admissionv1.Update {
			return h.Injector.Update(ns, &before, &pod)
		}
		return h.Injector.Inject(ns, &pod)
	}
	// The pod may not name its namespace yet; the request always does.
	ns, err := h.Namespaces.Namespace(ctx, req.Namespace)
	if err != nil {
		return Result{}, nil, fmt.Errorf("reading namespace %s: %w", req.Namespace, err)
	}
	res, err := decide(ns)
	if err == nil && res.Reason == ReasonNotLabelled {
		// The API server called because a label matched: ours may be the older view of the namespace.
		if ns, err = h.Namespaces.Live(ctx, req.Namespace); err != nil {
			return Result{}, nil, fmt.Errorf("reading namespace %s: %w", req.Namespace, err)
		}
		res, err = decide(ns)
	}
	if err != nil {
		return Result{}, nil, err
	}
	// The effect comes last, when nothing of ours can refuse the pod any more.
	if !dryRun(req) {
		ctx, cancel := context.WithTimeout(ctx, registerTimeout)
		defer cancel()
		for _, w := range res.Workloads {
			if _, err := h.Registrar.Ensure(ctx, w); err != nil {
				return Result{}, nil, &registrationError{w, err}
			}
		}
	}
	return res, Patch(&pod, res.Pod), nil
}

func spiffeIDOf(res Result) string {
	if len(res.Workloads) == 0 {
		return ""
	}
	return res.Workloads[0].ID.String()
}

func dryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }

// registrationError says that a pod is refused only because its identity could not be registered.
type registrationError struct {
	workload registrar.Workload
	err      error
}

func (e *registrationError) Error() string {
	return fmt.Sprintf("the identity %s could not be registered in SPIRE, so that the pod would wait for its certificate for ever; "+
		"nothing was changed; create the pod again when this is mended: %v", e.workload.ID, e.err)
}

func (e *registrationError) Unwrap() error { return e.err }

// classify gives an error its reason and the HTTP status that makes clients do the right thing: 5xx may be tried again.
func classify(err error) (Reason, int32) {
	var refusal *Refusal
	var registration *registrationError
	switch {
	case errors.As(err, &refusal):
		return refusal.Reason, http.StatusForbidden
	case errors.As(err, &registration) && registrar.KindOf(err) == registrar.Unavailable:
		return ReasonSPIREUnavailable, http.StatusServiceUnavailable
	case errors.As(err, &registration):
		return ReasonSPIRERefused, http.StatusInternalServerError
	}
	return ReasonInternal, http.StatusInternalServerError
}
