package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// TrimService leaves of a Service what takes part in decisions: its name alone if nothing else does.
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
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		out.Spec.ClusterIP = corev1.ClusterIPNone
	}
	out.Spec.Ports = make([]corev1.ServicePort, len(s.Spec.Ports))
	for n, p := range s.Spec.Ports {
		out.Spec.Ports[n] = corev1.ServicePort{
			Protocol: p.Protocol, AppProtocol: p.AppProtocol, Port: p.Port, TargetPort: p.TargetPort,
		}
	}
	return out, nil
}

// servicesIn are those of a namespace that take part in decisions.
func servicesIn(ctx context.Context, cached client.Reader, namespace string) ([]intent.Service, error) {
	var list corev1.ServiceList
	// Who decides reads it.
	if err := cached.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
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
