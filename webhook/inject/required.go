package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// refusedExceptions finds those of what is asked for that may not be.
type refusedExceptions func(intent.Intent) []intent.Mistake

// refusedExceptions are those of a new pod.
func (i Injector) refusedExceptions(ns intent.Namespace) refusedExceptions {
	return func(in intent.Intent) []intent.Mistake {
		return append(i.Platform.RefusedExceptions(ns, in), intent.CaptureForbidden(ns, in)...)
	}
}

// newExceptions are those that a running pod had not before: one that was admitted with an exception still takes other
// changes, so that a peer can be removed at once.
func (i Injector) newExceptions(ns intent.Namespace, before *corev1.Pod) refusedExceptions {
	return func(in intent.Intent) []intent.Mistake {
		refused := i.Platform.RefusedExceptions(ns, in)
		if len(refused) == 0 {
			return nil
		}
		was, _ := intent.ParseAdmitted(i.Platform, ns, strip(before), i.admitted) // what of it is understood
		had := i.Platform.RefusedExceptions(ns, was)
		return slices.DeleteFunc(refused, func(m intent.Mistake) bool { return slices.Contains(had, m) })
	}
}
