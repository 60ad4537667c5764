package webhook

import (
	"context"
	"errors"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

// oneConfiguration has it as it is at the moment, or an error.
type oneConfiguration struct {
	client.Reader
	is  admissionregistrationv1.MutatingWebhookConfiguration
	err error
}

func (c *oneConfiguration) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.is.DeepCopyInto(into.(*admissionregistrationv1.MutatingWebhookConfiguration))
	return c.err
}

// Each state of the configuration is the one that is in force.
func TestServedByFollowsTheConfiguration(t *testing.T) {
	from := &oneConfiguration{}
	serves := ServedBy(from, "hooks")
	served := func(uid, version, label string) bool {
		from.is.UID, from.is.ResourceVersion = types.UID(uid), version
		from.is.Webhooks = []admissionregistrationv1.MutatingWebhook{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": label}},
		}}
		does, err := serves(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return does(map[string]string{"team": "a"})
	}
	for _, state := range []struct{ uid, version, label string }{
		{"1", "1", "a"}, {"1", "1", "a"}, {"1", "2", "b"}, {"1", "3", "a"}, {"2", "3", "b"},
	} {
		if got, want := served(state.uid, state.version, state.label), state.label == "a"; got != want {
			t.Errorf("%+v: expected %t, got %t", state, want, got)
		}
	}
	from.err = errors.New("no")
	if _, err := serves(t.Context()); !errors.Is(err, from.err) {
		t.Errorf("a configuration that cannot be read: expected its error, got %v", err)
	}
}
