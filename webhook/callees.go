package webhook

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Callees knows which Services there are. It is asked apart from decisions, which are remembered.
type Callees struct {
	// Cached has all Services and namespaces of the cluster. It must not answer before it has read them: what is not there
	// then does not exist, or not yet.
	Cached client.Reader
}

// maxMissing is how many Services are named that there are not.
const maxMissing = 3

// warn adds warnings of callees that there are not. They come after their callers often enough, so that nothing is denied.
// The zero pointer knows nothing.
func (c *Callees) warn(ctx context.Context, res inject.Result) inject.Result {
	if c == nil || len(res.Callees) == 0 {
		return res
	}
	missing := slices.DeleteFunc(slices.Clone(res.Callees), func(callee intent.Callee) bool { return !c.isMissing(ctx, callee) })
	res.Warnings = slices.Clone(res.Warnings) // those of a decision that is remembered stay
	for _, callee := range missing[:min(len(missing), maxMissing)] {
		res.Warnings = append(res.Warnings, callee.Missing().String())
	}
	if more := len(missing) - maxMissing; more > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("Services of %d more upstreams do not exist", more))
	}
	return res
}

func (c *Callees) isMissing(ctx context.Context, callee intent.Callee) bool {
	if callee.Ambiguous && c.find(ctx, client.ObjectKey{Name: callee.Namespace}, &corev1.Namespace{}) != nil {
		return false // it is no namespace, as far as we know
	}
	return apierrors.IsNotFound(c.find(ctx, client.ObjectKey{Namespace: callee.Namespace, Name: callee.Name}, &corev1.Service{}))
}

func (c *Callees) find(ctx context.Context, key client.ObjectKey, object client.Object) error {
	return c.Cached.Get(ctx, key, object, client.UnsafeDisableDeepCopy)
}
