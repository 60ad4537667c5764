package webhook

import (
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
)

// Served says of which namespaces, by their labels, the API server asks the injector that a configuration registers. Others are those
// of a cold cluster's own, or another injector's.
func Served(c *admissionregistrationv1.MutatingWebhookConfiguration) (serves func(namespaceLabels map[string]string) bool, err error) {
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
