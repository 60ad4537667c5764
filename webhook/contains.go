package webhook

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// missing lists what of the injected pod is not, or not so, in the pod that arrived. Between two calls of a webhook the API
// server fills in defaults and other webhooks add their own: what we did not set is not ours to compare.
func missing(injected, arrived *corev1.Pod) []Mistake {
	var mistakes []Mistake
	changed := func(where string) {
		mistakes = append(mistakes, Mistake{where, "is not what the webhook writes for this pod", "remove everything that injection added, or inject again"})
	}
	if injected.Labels[LabelIdentity] != arrived.Labels[LabelIdentity] {
		changed("label " + LabelIdentity)
	}
	for _, key := range writtenByWebhook() {
		if injected.Annotations[key] != arrived.Annotations[key] {
			changed("annotation " + key)
		}
	}
	if !slices.ContainsFunc(arrived.Spec.InitContainers, func(c corev1.Container) bool { return isSidecar(c, injected.Spec.InitContainers[0]) }) {
		changed("container " + SidecarName)
	}
	for _, v := range injected.Spec.Volumes {
		if (v.Name == ConfigVolume || v.Name == SocketVolume) && !contains(asJSON(arrived.Spec.Volumes), asJSON([]corev1.Volume{v})) {
			changed("volume " + v.Name)
		}
	}
	return mistakes
}

// isSidecar says whether a container is the sidecar, but for additions. What it runs has no additions: one more argument would
// be another Envoy.
func isSidecar(c, sidecar corev1.Container) bool {
	return slices.Equal(c.Command, sidecar.Command) && slices.Equal(c.Args, sidecar.Args) && contains(asJSON(c), asJSON(sidecar))
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
	default:
		return whole == part
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
