package offline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// podIn is where an object keeps the pod that the cluster would inject, as a JSON pointer: of the kinds that Kubernetes
// has, and of any other one that has a pod template where these have it, because a pod is injected whoever made it.
func podIn(o object) (pointer string, ok bool) {
	if pointer, ok = inject.PodPointer(o.kind()); ok {
		return pointer, true
	}
	if strings.HasPrefix(o.header.APIVersion, "serving.knative.dev/") {
		return "", false // it takes no other containers in its template than the app's
	}
	for _, pointer := range []string{"/spec/template", "/spec/jobTemplate/spec/template"} {
		if hasContainers(o.json, pointer) {
			return pointer, true
		}
	}
	return "", false
}

func hasContainers(object json.RawMessage, pointer string) bool {
	raw, err := inject.At(object, pointer)
	if err != nil {
		return false
	}
	var template struct {
		Spec struct {
			Containers []json.RawMessage `json:"containers"`
		} `json:"spec"`
	}
	return json.Unmarshal(raw, &template) == nil && len(template.Spec.Containers) > 0
}

// hasNoTemplate says whether a workload leaves its pod template out, as a part of one that others complete.
func hasNoTemplate(o object, pointer string) bool {
	object := o.json
	for _, key := range strings.Split(pointer, "/")[1:] {
		var fields map[string]json.RawMessage
		if json.Unmarshal(object, &fields) != nil {
			return false // something else is in its place
		}
		if object = fields[key]; object == nil {
			return true
		}
	}
	return false
}

// misplaced are labels and annotations of ours that stand on an object itself, where they do nothing, and not on the pod
// template for which they are meant.
func misplaced(o object, pointer string) []string {
	if pointer == "" {
		return nil
	}
	var template struct {
		Metadata struct{ Labels, Annotations map[string]any }
	}
	if raw, err := inject.At(o.json, pointer); err != nil || json.Unmarshal(raw, &template) != nil {
		return nil
	}
	var found []string
	report := func(kind, key, field string) {
		found = append(found, fmt.Sprintf("%s %s of the %s itself has no effect; move it to %s.metadata.%s",
			kind, key, o.header.Kind, strings.ReplaceAll(pointer[1:], "/", "."), field))
	}
	_, onObject := o.header.Metadata.Labels[intent.LabelInject]
	if _, onTemplate := template.Metadata.Labels[intent.LabelInject]; onObject && !onTemplate {
		report("label", intent.LabelInject, "labels")
	}
	for _, key := range intent.WrittenByUsers() {
		_, onObject := o.header.Metadata.Annotations[key]
		if _, onTemplate := template.Metadata.Annotations[key]; onObject && !onTemplate {
			report("annotation", key, "annotations")
		}
	}
	return found
}

// byTheClusterAlone warns of an object whose pods are injected where they are made, and which cannot be injected itself.
func byTheClusterAlone(o object) []string {
	if !strings.HasPrefix(o.header.APIVersion, "serving.knative.dev/") || !hasContainers(o.json, "/spec/template") {
		return nil
	}
	var service struct {
		Spec struct{ Template struct{ Metadata struct{ Labels map[string]any } } }
	}
	if json.Unmarshal(o.json, &service) != nil ||
		!slices.Contains([]any{intent.InjectEnabled}, service.Spec.Template.Metadata.Labels[intent.LabelInject]) {
		return nil
	}
	return []string{fmt.Sprintf("label %s: the cluster injects the pods that Knative makes; the manifest stays as it is", intent.LabelInject)}
}
