package webhook

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Patch is the JSON patch from a pod to what injection made of it: labels and annotations that it set, the sidecar that it put
// in front, the volumes that it put behind. It is made of these additions, because comparing the whole pods would cost more
// than all the rest of an admission, and because a comparison of lists goes by position: with the sidecar in front, a field of
// the user's first init container that is newer than our API version would stay behind on the sidecar.
func Patch(before, after *corev1.Pod) []Operation {
	ops := setKeys(nil, "/metadata/labels", before.Labels, after.Labels)
	ops = setKeys(ops, "/metadata/annotations", before.Annotations, after.Annotations)
	if len(after.Spec.InitContainers) > len(before.Spec.InitContainers) {
		sidecar := after.Spec.InitContainers[0]
		if len(before.Spec.InitContainers) == 0 {
			ops = append(ops, Operation{Operation: "add", Path: "/spec/initContainers", Value: []corev1.Container{sidecar}}) // there may be no list to add to
		} else {
			ops = append(ops, Operation{Operation: "add", Path: "/spec/initContainers/0", Value: sidecar})
		}
	}
	added := after.Spec.Volumes[len(before.Spec.Volumes):]
	if len(before.Spec.Volumes) == 0 && len(added) > 0 {
		return append(ops, Operation{Operation: "add", Path: "/spec/volumes", Value: added})
	}
	for _, volume := range added {
		ops = append(ops, Operation{Operation: "add", Path: "/spec/volumes/-", Value: volume})
	}
	return ops
}

// setKeys appends what sets the keys of a map that are new or have another value. Adding a key that exists replaces it
// (RFC 6902, section 4.1).
func setKeys(ops []Operation, path string, before, after map[string]string) []Operation {
	if len(before) == 0 {
		if len(after) == 0 {
			return ops
		}
		return append(ops, Operation{Operation: "add", Path: path, Value: after}) // there may be no map to add to
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if was, had := before[key]; !had || was != after[key] {
			ops = append(ops, Operation{Operation: "add", Path: path + "/" + pointerToken.Replace(key), Value: after[key]})
		}
	}
	return ops
}

// pointerToken escapes a key in a JSON pointer (RFC 6901, section 3).
var pointerToken = strings.NewReplacer("~", "~0", "/", "~1")
