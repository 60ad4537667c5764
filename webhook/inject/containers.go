package inject

import (
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// sameInContainers finds the containers of the user's that did not arrive with what a part writes into them, which
// is what view returns. Everything of the user's is the same in both pods, because the one was made from the other.
func sameInContainers(arrived, injected *corev1.Pod, view func(corev1.Container) any) []intent.Mistake {
	var mistakes []intent.Mistake
	for arrived, injected := range containerLists(arrived, injected) {
		for _, c := range injected {
			if IsOurContainer(c.Name) { // which [sameContainer] compares as a whole
				continue
			}
			want := view(c)
			if !slices.ContainsFunc(arrived, func(a corev1.Container) bool { return a.Name == c.Name && holds(view(a), want) }) {
				mistakes = append(mistakes, isAltered("container "+c.Name))
			}
		}
	}
	return mistakes
}

// containerLists are the init containers of two pods, and then their containers.
func containerLists(a, b *corev1.Pod) iter.Seq2[[]corev1.Container, []corev1.Container] {
	return func(yield func(a, b []corev1.Container) bool) {
		_ = yield(a.Spec.InitContainers, b.Spec.InitContainers) && yield(a.Spec.Containers, b.Spec.Containers)
	}
}

func containerNamed(containers []corev1.Container, name string) *corev1.Container {
	for i := range containers {
		if containers[i].Name == name {
			return &containers[i]
		}
	}
	return nil
}

// removeContainer removes all containers of a name.
func removeContainer(pod *corev1.Pod, name string) {
	named := func(c corev1.Container) bool { return c.Name == name }
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, named)
	pod.Spec.Containers = slices.DeleteFunc(pod.Spec.Containers, named)
}

// removeInitContainer removes all init containers of a name.
func removeInitContainer(pod *corev1.Pod, name string) {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
}

// putFirst puts an init container in front of all others.
func putFirst(pod *corev1.Pod, c corev1.Container) {
	pod.Spec.InitContainers = append([]corev1.Container{withinBudget(pod, c)}, pod.Spec.InitContainers...)
}

// withinBudget is a container of ours without resources if the pod has a budget for all its containers: a share of ours
// could exceed what the user's already add up to.
func withinBudget(pod *corev1.Pod, c corev1.Container) corev1.Container {
	if pod.Spec.Resources != nil {
		c.Resources = corev1.ResourceRequirements{}
	}
	return c
}

// literal is an argument of which the kubelet makes the text again: it replaces $(NAME), and $$ by $.
func literal(arg string) string { return strings.ReplaceAll(arg, "$", "$$") }

// reserved finds a container that has the name of one of ours.
func reserved(pod *corev1.Pod, name, what string) []intent.Mistake {
	var mistakes []intent.Mistake
	for c := range intent.ContainersOf(pod) {
		if c.Name == name {
			mistakes = append(mistakes, intent.Mistake{Where: "container " + name, What: what, Hint: "rename it"})
		}
	}
	return mistakes
}

// holds says whether a value of an API type has all that another one says, but for additions.
func holds(arrived, injected any) bool {
	return reflect.DeepEqual(arrived, injected) || contains(asJSON(arrived), asJSON(injected))
}

// contains says whether every value of part is in whole: the fields of an object by name, the items of a list in any
// place.
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
