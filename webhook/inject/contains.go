package inject

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// missing lists what of the injected pod is not, or not so, in the pod that arrived. Between two calls of a webhook the API
// server fills in defaults and other webhooks add their own: what we did not set is not ours to compare.
func missing(injected, arrived *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	changed := func(where string) {
		mistakes = append(mistakes, intent.Mistake{Where: where, What: "is not what the webhook writes for this pod", Hint: "remove everything that injection added, or inject again"})
	}
	if injected.Labels[intent.LabelIdentity] != arrived.Labels[intent.LabelIdentity] {
		changed("label " + intent.LabelIdentity)
	}
	for _, key := range intent.WrittenByWebhook() {
		if injected.Annotations[key] != arrived.Annotations[key] {
			changed("annotation " + key)
		}
	}
	// Everything of the user's is the same in both, because the one was made from the other.
	mistakes = append(mistakes, missingContainers(injected.Spec.InitContainers, arrived.Spec.InitContainers)...)
	mistakes = append(mistakes, missingContainers(injected.Spec.Containers, arrived.Spec.Containers)...)
	volumes := asJSON(arrived.Spec.Volumes)
	for _, v := range injected.Spec.Volumes {
		if isOurVolume(v.Name) && !contains(volumes, asJSON([]corev1.Volume{v})) {
			changed("volume " + v.Name)
		}
	}
	if want, got := injected.Spec.TerminationGracePeriodSeconds, arrived.Spec.TerminationGracePeriodSeconds; want != nil && (got == nil || *got != *want) {
		changed("spec.terminationGracePeriodSeconds")
	}
	return mistakes
}

// missingContainers are those that are not, or not so, among the containers that arrived.
func missingContainers(injected, arrived []corev1.Container) []intent.Mistake {
	var mistakes []intent.Mistake
	for _, c := range injected {
		if !slices.ContainsFunc(arrived, func(candidate corev1.Container) bool { return isContainer(candidate, c) }) {
			mistakes = append(mistakes, intent.Mistake{Where: "container " + c.Name, What: "is not what the webhook writes for this pod",
				Hint: "remove everything that injection added, or inject again"})
		}
	}
	return mistakes
}

// isContainer says whether a container is what it should be, but for additions. What our containers run has no additions: one more
// argument would be another Envoy.
func isContainer(c, want corev1.Container) bool {
	if want.Name != c.Name || (want.Name == intent.SidecarName || want.Name == intent.JWTName) && !(slices.Equal(c.Command, want.Command) && slices.Equal(c.Args, want.Args)) {
		return false
	}
	return reflect.DeepEqual(c, want) || contains(asJSON(c), asJSON(want))
}

// contains says whether every value of part is in whole: the fields of an object by name, the items of a list in any place.
func contains(whole, part any) bool {
	switch p := part.(type) {
	case map[string]any:
		w, ok := whole.(map[string]any)
		for key, value := range p {
			ok = ok && contains(w[key], value)
		}
		return ok
	case []any:
		w, ok := whole.([]any)
		for _, item := range p {
			ok = ok && slices.ContainsFunc(w, func(candidate any) bool { return contains(candidate, item) })
		}
		return ok
	case nil: // a field that is not set, of those few that are encoded all the same
		return true
	default:
		return whole == part || whole == nil && part == ""
	}
}

// asJSON is a value of an API type as JSON has it.
func asJSON(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding a Kubernetes API type: %v", err)) // cannot fail: these types hold only what JSON has
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		panic(fmt.Sprintf("decoding a Kubernetes API type: %v", err))
	}
	return out
}
