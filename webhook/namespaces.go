package webhook

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Namespaces reads namespaces of a cluster.
type Namespaces struct {
	Cached client.Reader
	Direct client.Reader // the API server itself
	// Services is a cache of those that [TrimService] leaves, for who decides on new pods; nil reads none. It counts for
	// what is live too: a pod does not wait for lists of the API server's.
	Services client.Reader
}

// Namespace reads from the cache, and from the API server what the cache does not know yet: a pod often follows its
// namespace by milliseconds.
func (n Namespaces) Namespace(ctx context.Context, name string) (intent.Namespace, error) {
	ns, err := n.read(ctx, n.Cached, name, client.UnsafeDisableDeepCopy) // who decides reads it
	if apierrors.IsNotFound(err) {
		return n.Live(ctx, name)
	}
	return ns, err
}

// Live reads from the API server.
func (n Namespaces) Live(ctx context.Context, name string) (intent.Namespace, error) {
	return n.read(ctx, n.Direct, name)
}

func (n Namespaces) read(
	ctx context.Context, from client.Reader, name string, how ...client.GetOption,
) (intent.Namespace, error) {
	var ns corev1.Namespace
	if err := from.Get(ctx, client.ObjectKey{Name: name}, &ns, how...); err != nil {
		return intent.Namespace{}, err
	}
	out := intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	if n.Services == nil {
		return out, nil
	}
	var err error
	out.Services, err = servicesIn(ctx, n.Services, name)
	return out, err
}
