package webhook

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestServed(t *testing.T) {
	selector := func(label, operator string) *metav1.LabelSelector {
		return &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: label, Operator: metav1.LabelSelectorOperator(operator)}},
		}
	}
	configuration := func(selectors ...*metav1.LabelSelector) *admissionregistrationv1.MutatingWebhookConfiguration {
		c := &admissionregistrationv1.MutatingWebhookConfiguration{}
		for _, s := range selectors {
			c.Webhooks = append(c.Webhooks, admissionregistrationv1.MutatingWebhook{Name: "hook", NamespaceSelector: s})
		}
		return c
	}
	for name, tc := range map[string]struct {
		configuration *admissionregistrationv1.MutatingWebhookConfiguration
		labels        map[string]string
		want          bool
	}{
		"excluded": {configuration(
			selector("release", "DoesNotExist")), map[string]string{"release": "other"}, false},
		"not excluded": {configuration(selector("release", "DoesNotExist")), map[string]string{"team": "a"}, true},
		"by one of them": {configuration(
			selector("release", "DoesNotExist"), selector("team", "Exists"),
		), map[string]string{"release": "x", "team": "a"}, true},
		"everything":         {configuration(&metav1.LabelSelector{}), nil, true},
		"no selector":        {configuration(nil), nil, false},
		"without a webhook":  {configuration(), nil, false},
		"no labels, by none": {configuration(selector("team", "Exists")), nil, false},
	} {
		serves, err := Served(tc.configuration)
		if err != nil {
			t.Fatal(err)
		}
		if got := serves(tc.labels); got != tc.want {
			t.Errorf("%s: serves %t, want %t", name, got, tc.want)
		}
	}
	if _, err := Served(configuration(selector("team", "Nearly"))); err == nil {
		t.Error("a selector that cannot be is taken")
	}
}
