package webhook

import (
	"context"
	"fmt"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Serves says of a namespace, by its labels, whether the API server sends its pods to us.
type Serves = func(namespaceLabels map[string]string) bool

// ServedBy says what [Served] does of the configuration that has a name, whenever it is asked. Selectors are made once
// for each state of the configuration: it is asked about each pod.
func ServedBy(from client.Reader, name string) func(context.Context) (Serves, error) {
	type state struct {
		uid     types.UID
		version string
		serves  Serves
	}
	var last atomic.Pointer[state]
	return func(ctx context.Context) (Serves, error) {
		var c admissionregistrationv1.MutatingWebhookConfiguration
		if err := from.Get(ctx, client.ObjectKey{Name: name}, &c, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		if known := last.Load(); known != nil && known.uid == c.UID && known.version == c.ResourceVersion {
			return known.serves, nil
		}
		serves, err := Served(&c)
		if err == nil {
			last.Store(&state{c.UID, c.ResourceVersion, serves})
		}
		return serves, err
	}
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
