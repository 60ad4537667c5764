package webhook

import (
	"context"
	"fmt"
	"reflect"

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
}

// decideOnPod decides on the pod of a request, which it also returns.
func decideOnPod(
	ctx context.Context, req admission.Request, decoder admission.Decoder, namespaces NamespaceReader, rules podRules,
) (*corev1.Pod, inject.Result, error) {
	var before, pod corev1.Pod
	if err := decoder.DecodeRaw(req.Object, &pod); err != nil {
		return nil, inject.Result{}, fmt.Errorf("decoding the pod: %w", err)
	}
	if req.Operation == admissionv1.Update {
		if err := decoder.DecodeRaw(req.OldObject, &before); err != nil {
			return nil, inject.Result{}, fmt.Errorf("decoding the pod as it was: %w", err)
		}
	}
	res, err := inNamespace(ctx, namespaces, req.Namespace, func(ns intent.Namespace) (inject.Result, error) {
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
func inNamespace(
	ctx context.Context, namespaces NamespaceReader, name string, decide func(intent.Namespace) (inject.Result, error),
) (inject.Result, error) {
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
