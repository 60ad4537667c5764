package webhook

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// NamespaceReader finds the namespace of a pod. Live reads around every cache.
type NamespaceReader interface {
	Namespace(ctx context.Context, name string) (intent.Namespace, error)
	Live(ctx context.Context, name string) (intent.Namespace, error)
}

// podRules decide on a pod that is created, and on a change of one.
type podRules struct {
	created func(ns intent.Namespace, pod *corev1.Pod) (inject.Result, error)
	changed func(ns intent.Namespace, before, after *corev1.Pod) (inject.Result, error)
	// object is created in JSON, and decoded only if need be; nil: created decides.
	object func(ns intent.Namespace, object []byte, pod func() (*corev1.Pod, error)) (inject.Result, error)
}

// decider decides on one request.
type decider struct {
	Namespaces NamespaceReader
	Turns      *Turns
	bounds     intent.Bounds
}

// onObject decides on a pod that is created, and decodes it at most once.
func (d decider) onObject(ctx context.Context, req admission.Request, rules podRules) (inject.Result, error) {
	decoded := sync.OnceValues(func() (*corev1.Pod, error) {
		var pod corev1.Pod
		return &pod, d.measured(req, func() error {
			if err := decodePod(req.Object, &pod); err != nil {
				return fmt.Errorf("decoding the pod: %w", err)
			}
			return nil
		})
	})
	return d.inNamespace(ctx, req, nil, func(ns intent.Namespace) (inject.Result, error) {
		return rules.object(ns, req.Object.Raw, decoded)
	})
}

// onPod decides on the pod of a request, which it also returns if it was decoded.
func (d decider) onPod(
	ctx context.Context, req admission.Request, rules podRules,
) (*corev1.Pod, inject.Result, error) {
	if rules.object != nil && req.Operation == admissionv1.Create {
		res, err := d.onObject(ctx, req, rules)
		return nil, res, err
	}
	var before, pod corev1.Pod
	read := func() error {
		if err := decodePod(req.Object, &pod); err != nil {
			return fmt.Errorf("decoding the pod: %w", err)
		}
		if req.Operation != admissionv1.Update {
			return nil
		}
		if err := decodePod(req.OldObject, &before); err != nil {
			return fmt.Errorf("decoding the pod as it was: %w", err)
		}
		return nil
	}
	res, err := d.inNamespace(ctx, req, read, func(ns intent.Namespace) (inject.Result, error) {
		if req.Operation == admissionv1.Update {
			return rules.changed(ns, &before, &pod)
		}
		return rules.created(ns, &pod)
	})
	return &pod, res, err
}

// inNamespace decides by the namespace as the cache has it. The API server called because a label matched, and the
// request follows the namespace by milliseconds: where the cached one denies the pod, or gives no reason to call us, a
// newer one decides. The name is that of the request: a pod may not name its namespace yet.
//
// The request is read once, and that and each decision takes a turn: the API server is asked in none. Where read is nil
// the decision reads what it needs.
func (d decider) inNamespace(
	ctx context.Context, req admission.Request, read func() error, decide func(intent.Namespace) (inject.Result, error),
) (inject.Result, error) {
	if err := checkRequest(req); err != nil {
		return inject.Result{}, err
	}
	name := req.Namespace
	cached, err := d.Namespaces.Namespace(ctx, name)
	if err != nil {
		return inject.Result{}, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	var res inject.Result
	err = d.inTurn(ctx, req, func() (err error) {
		if read != nil {
			if err = d.measured(req, read); err != nil {
				return err
			}
		}
		res, err = decide(cached)
		return err
	})
	if !mayChange(res, err) {
		return res, err
	}
	live, liveErr := d.Namespaces.Live(ctx, name)
	if liveErr != nil {
		return inject.Result{}, fmt.Errorf("reading namespace %s: %w", name, liveErr)
	}
	if reflect.DeepEqual(cached, live) {
		return res, err
	}
	err = d.inTurn(ctx, req, func() (err error) {
		res, err = decide(live)
		return err
	})
	return res, err
}

// mayChange says whether a newer namespace could decide otherwise. What is too large is not worth a call of the API
// server: it would be one for each attack.
func mayChange(res inject.Result, err error) bool {
	var refusal *intent.Refusal
	switch {
	case err == nil:
		return res.Reason == reason.NotLabelled
	case errors.As(err, &refusal):
		return refusal.Reason != reason.OverLimit
	}
	return false
}

// inTurn does something that takes processor time and memory, if the caller still waits for it.
func (d decider) inTurn(ctx context.Context, req admission.Request, do func() error) error {
	done, err := d.Turns.Take(ctx, req.Namespace)
	if err != nil {
		return err
	}
	defer done()
	return do()
}

// measured decodes a request, and denies before what would take much more memory than it has bytes.
func (d decider) measured(req admission.Request, decode func() error) error {
	for _, object := range [][]byte{req.Object.Raw, req.OldObject.Raw} {
		if err := d.bounds.AllowObject(object); err != nil {
			return err
		}
	}
	return decode()
}
