package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Most Services say nothing of protocols. So the cache keeps no more than the names of those, and finds the others by an
// index: an admission does not look at all Services of its namespace.
const (
	saysProtocol = "says-protocol"
	says         = "true"
)

// IndexServices has a cache watch Services, and find those that say what is spoken on ports.
func IndexServices(ctx context.Context, cache client.FieldIndexer) error {
	return cache.IndexField(ctx, &corev1.Service{}, saysProtocol, ServiceIndex)
}

// ServiceIndex is under which values of the index a Service is.
func ServiceIndex(o client.Object) []string {
	if s, ok := o.(*corev1.Service); ok {
		if _, takesPart := intent.ServiceOf(s); takesPart {
			return []string{says}
		}
	}
	return nil
}

// TrimService leaves of a Service what takes part in decisions: less than 1 KiB of one that says nothing of protocols.
func TrimService(object any) (any, error) {
	s, ok := object.(*corev1.Service)
	if !ok {
		return object, nil
	}
	out := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace:         s.Namespace,
		Name:              s.Name,
		UID:               s.UID,
		ResourceVersion:   s.ResourceVersion,
		CreationTimestamp: s.CreationTimestamp,
	}}
	if _, takesPart := intent.ServiceOf(s); !takesPart {
		return out, nil
	}
	out.Spec = corev1.ServiceSpec{Type: s.Spec.Type, Selector: s.Spec.Selector}
	for _, p := range s.Spec.Ports {
		out.Spec.Ports = append(out.Spec.Ports, corev1.ServicePort{
			Protocol: p.Protocol, AppProtocol: p.AppProtocol, Port: p.Port, TargetPort: p.TargetPort,
		})
	}
	return out, nil
}

// servicesIn are those of a namespace that say what is spoken on ports.
func servicesIn(ctx context.Context, cached client.Reader, namespace string) ([]intent.Service, error) {
	var list corev1.ServiceList
	err := cached.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{saysProtocol: says},
		client.UnsafeDisableDeepCopy) // who decides reads it
	if err != nil {
		return nil, fmt.Errorf("its Services: %w", err)
	}
	var all []intent.Service
	for i := range list.Items {
		if s, takesPart := intent.ServiceOf(&list.Items[i]); takesPart {
			all = append(all, s)
		}
	}
	return all, nil
}
