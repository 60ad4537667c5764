package networkpolicies

import (
	"maps"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Steps are what makes the policies that an injector keeps in a namespace what they should be.
type Steps struct {
	Create, Update, Delete []*networkingv1.NetworkPolicy
}

// Plan compares what should be with the policies of a namespace that have the injector's labels. Labels and annotations
// of others on them stay.
func Plan(injector, namespace string, desired []Policy, existing []*networkingv1.NetworkPolicy) Steps {
	var steps Steps
	there := map[string]*networkingv1.NetworkPolicy{}
	for _, policy := range existing {
		there[policy.Name] = policy
	}
	for _, policy := range desired {
		want := policy.Object(namespace)
		want.Labels = Labels(injector)
		is := there[want.Name]
		delete(there, want.Name)
		switch {
		case is == nil:
			steps.Create = append(steps.Create, want)
		case !equality.Semantic.DeepEqual(is.Spec, want.Spec):
			changed := is.DeepCopy()
			changed.Spec = want.Spec
			steps.Update = append(steps.Update, changed)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		steps.Delete = append(steps.Delete, there[name])
	}
	return steps
}
