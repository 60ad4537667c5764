package webhook

import (
	"encoding/json"
	"fmt"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
)

// Patch is the JSON patch from a pod to what became of it. Both are typed, so that fields which are newer than our API
// version are in neither and the patch leaves them alone.
//
// A list is compared by position. The sidecar at the front would shift all init containers, and a newer field of the
// first would stay behind on the sidecar: so its insertion is an operation of its own, and the rest is compared after it.
func Patch(before, after *corev1.Pod) ([]Operation, error) {
	var ops []Operation
	if n := len(after.Spec.InitContainers); n == len(before.Spec.InitContainers)+1 && after.Spec.InitContainers[0].Name == SidecarName {
		sidecar := after.Spec.InitContainers[0]
		if n == 1 {
			ops = append(ops, jsonpatch.NewOperation("add", "/spec/initContainers", asJSON([]corev1.Container{sidecar})))
		} else {
			ops = append(ops, jsonpatch.NewOperation("add", "/spec/initContainers/0", asJSON(sidecar)))
		}
		before = before.DeepCopy()
		before.Spec.InitContainers = append([]corev1.Container{sidecar}, before.Spec.InitContainers...)
	}
	a, err := json.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("encoding the pod as it came: %w", err)
	}
	b, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("encoding the injected pod: %w", err)
	}
	rest, err := jsonpatch.CreatePatch(a, b)
	if err != nil {
		return nil, fmt.Errorf("comparing the pod with the injected one: %w", err)
	}
	return append(ops, rest...), nil
}
