package webhook

import (
	"context"
	"fmt"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// wantServed denies a pod of a namespace that the API server does not ask this injector about: who asks is somebody
// else. The namespace may have got its labels a moment ago.
func (h *Handler) wantServed(ctx context.Context, namespace string) error {
	if h.Served == nil {
		return nil
	}
	serves, err := h.Served(ctx)
	if err != nil {
		return fmt.Errorf("nobody knows whether the pods of namespace %s are this injector's: %w", namespace, err)
	}
	for _, read := range []func(context.Context, string) (intent.Namespace, error){h.Namespaces.Namespace, h.Namespaces.Live} {
		ns, err := read(ctx, namespace)
		if err != nil {
			return fmt.Errorf("reading namespace %s: %w", namespace, err)
		}
		if serves(ns.Labels) {
			return nil
		}
	}
	return intent.Refuse(reason.Invalid, []intent.Mistake{{
		Where: "namespace " + namespace,
		What:  "expected one that the injector's MutatingWebhookConfiguration selects: pods of others are registered by nobody",
	}})
}
