package webhook

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Serves says of a namespace, by its labels, whether the API server sends its pods to us.
type Serves = func(namespaceLabels map[string]string) bool

// ServedBy is [Served] of the configuration that has a name.
func ServedBy(ctx context.Context, from client.Reader, name string) (Serves, error) {
	var c admissionregistrationv1.MutatingWebhookConfiguration
	if err := from.Get(ctx, client.ObjectKey{Name: name}, &c, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return Served(&c)
}

// Served says of which namespaces, by their labels, the API server asks the injector that a configuration registers.
// Others are those of a cold cluster's own, or another injector's.
func Served(c *admissionregistrationv1.MutatingWebhookConfiguration) (Serves, error) {
	var selectors []k8slabels.Selector
	for _, hook := range c.Webhooks {
		selector, err := metav1.LabelSelectorAsSelector(hook.NamespaceSelector)
		if err != nil {
			return nil, fmt.Errorf("MutatingWebhookConfiguration %s, webhook %s: namespaceSelector: %w", c.Name, hook.Name, err)
		}
		selectors = append(selectors, selector)
	}
	return func(namespaceLabels map[string]string) bool {
		for _, selector := range selectors {
			if selector.Matches(k8slabels.Set(namespaceLabels)) {
				return true
			}
		}
		return false
	}, nil
}
