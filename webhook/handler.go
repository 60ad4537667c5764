package webhook

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// RegisterTimeout bounds the wait for SPIRE, well below the ten seconds after which the API server stops waiting for us and
// says only "context deadline exceeded".
const RegisterTimeout = 6 * time.Second

// Registrar makes sure that workloads have their entries in SPIRE. It may be called many times and concurrently for one workload.
type Registrar interface {
	Ensure(ctx context.Context, workloads []registrar.Workload) (entryIDs []string, err error)
}

// NamespaceReader finds the namespace of a pod. Live reads around every cache.
type NamespaceReader interface {
	Namespace(ctx context.Context, name string) (intent.Namespace, error)
	Live(ctx context.Context, name string) (intent.Namespace, error)
}

// Handler answers the API server's questions about pods: it decides with Injector, registers, and only then admits.
type Handler struct {
	Injector   func() inject.Injector // the one in force, asked once for each request
	Registrar  Registrar
	Namespaces NamespaceReader
	Decoder    admission.Decoder
	Metrics    *Metrics // nil: none
}

// Handle implements [admission.Handler].
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	start := time.Now()
	res, ops, err := h.handle(ctx, req)
	return answer(ctx, h.Metrics, mutatePod, req, start, res, ops, err)
}

func (h *Handler) handle(ctx context.Context, req admission.Request) (inject.Result, []inject.Operation, error) {
	before, pod, err := podsOf(h.Decoder, req)
	if err != nil {
		return inject.Result{}, nil, err
	}
	injector := h.Injector()
	res, err := inNamespace(ctx, h.Namespaces, req.Namespace, func(ns intent.Namespace) (inject.Result, error) {
		if req.Operation == admissionv1.Update {
			return injector.Update(ns, before, pod)
		}
		return injector.Inject(ns, pod)
	})
	if err != nil {
		return inject.Result{}, nil, err
	}
	if dryRun(req) || res.Reason == reason.AlreadyInjected && inject.StatusOf(pod).Deferred && injector.Platform.OnUnavailable == intent.Admit {
		return res, inject.Patch(pod, res.Pod), nil
	}
	// The effect comes last, when nothing of ours can refuse the pod any more.
	if err := h.register(ctx, res.Workloads); err != nil {
		if registrar.KindOf(err) != registrar.Unavailable || injector.Platform.OnUnavailable != intent.Admit {
			return inject.Result{}, nil, err
		}
		if res, err = postponed(res); err != nil {
			return inject.Result{}, nil, err
		}
	}
	return res, inject.Patch(pod, res.Pod), nil
}

// postponed leaves the registration to the reconciler. A pod that is created says so; one that runs has its identity already.
func postponed(res inject.Result) (inject.Result, error) {
	if res.Reason == reason.Regenerated {
		return res, nil
	}
	res, err := inject.Deferred(res)
	res.Reason = reason.RegistrationDeferred
	return res, err
}

func (h *Handler) register(ctx context.Context, workloads []registrar.Workload) error {
	if len(workloads) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, RegisterTimeout)
	defer cancel()
	if _, err := h.Registrar.Ensure(ctx, workloads); err != nil {
		return &registrationError{workloads[0].ID, err}
	}
	return nil
}

// podsOf decodes the pod of a request, and the one that was there before if there was one.
func podsOf(decoder admission.Decoder, req admission.Request) (before, pod *corev1.Pod, err error) {
	before, pod = &corev1.Pod{}, &corev1.Pod{}
	if err := decoder.DecodeRaw(req.Object, pod); err != nil {
		return nil, nil, fmt.Errorf("decoding the pod: %w", err)
	}
	if req.Operation == admissionv1.Update {
		if err := decoder.DecodeRaw(req.OldObject, before); err != nil {
			return nil, nil, fmt.Errorf("decoding the pod as it was: %w", err)
		}
	}
	return before, pod, nil
}

// inNamespace decides by the namespace as the cache has it. The API server called because a label matched, and what it asks about
// follows the namespace by milliseconds: where the cached one gives a refusal, or no reason to call us, a newer one decides.
// The name is that of the request: a pod may not name its namespace yet.
func inNamespace(ctx context.Context, namespaces NamespaceReader, name string, decide func(intent.Namespace) (inject.Result, error)) (inject.Result, error) {
	cached, err := namespaces.Namespace(ctx, name)
	if err != nil {
		return inject.Result{}, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	res, err := decide(cached)
	if err == nil && res.Reason != reason.NotLabelled {
		return res, nil
	}
	live, liveErr := namespaces.Live(ctx, name)
	if liveErr != nil {
		return inject.Result{}, fmt.Errorf("reading namespace %s: %w", name, liveErr)
	}
	if reflect.DeepEqual(cached, live) {
		return res, err
	}
	return decide(live)
}

// registrationError says that a pod is refused only because its identity could not be registered.
type registrationError struct {
	id  spiffeid.ID // of all the pod's workloads
	err error
}

func (e *registrationError) Error() string {
	return fmt.Sprintf("the identity %s could not be registered in SPIRE, so that the pod would wait for its certificate for ever; "+
		"nothing was changed; %s: %v", e.id, e.remedy(), e.err)
}

// retryAfter is when it makes sense to try again what failed because SPIRE did not answer: not much later than it comes back, and
// not so soon that it comes back to a storm.
const retryAfter = 10 * time.Second

func (e *registrationError) remedy() string {
	if registrar.KindOf(e.err) == registrar.Unavailable {
		return fmt.Sprintf("try again in %s, as its controller does", retryAfter)
	}
	return "create the pod again when this is mended"
}

func (e *registrationError) Unwrap() error { return e.err }
