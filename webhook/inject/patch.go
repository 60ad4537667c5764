package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
)

// Operation is one operation of a JSON patch (RFC 6902).
type Operation = jsonpatch.Operation

// Patch is the JSON patch from a pod to what injection made of it: labels, annotations, containers, volumes, the
// grace period, aliases of hosts and sysctls, which is all that injection changes. Containers and volumes are matched by their names and not by
// their positions: with the sidecar in front, a field of the user's first init container that is newer than our API
// version would else end on the sidecar. And comparing the whole pods would cost more than all the rest of an
// admission.
func Patch(before, after *corev1.Pod) []Operation {
	ops := setKeys(nil, "/metadata/labels", before.Labels, after.Labels)
	ops = setKeys(ops, "/metadata/annotations", before.Annotations, after.Annotations)
	containerName := func(c corev1.Container) string { return c.Name }
	ops = patchList(ops, "/spec/initContainers", before.Spec.InitContainers, after.Spec.InitContainers, containerName)
	ops = patchList(ops, "/spec/containers", before.Spec.Containers, after.Spec.Containers, containerName)
	volumeName := func(v corev1.Volume) string { return v.Name }
	ops = patchList(ops, "/spec/volumes", before.Spec.Volumes, after.Spec.Volumes, volumeName)
	const gracePeriod = "/spec/terminationGracePeriodSeconds"
	switch was, is := before.Spec.TerminationGracePeriodSeconds, after.Spec.TerminationGracePeriodSeconds; {
	case is != nil && (was == nil || *was != *is):
		ops = append(ops, Operation{Operation: "add", Path: gracePeriod, Value: *is})
	case is == nil && was != nil:
		ops = append(ops, Operation{Operation: "remove", Path: gracePeriod})
	}
	ops = patchHostAliases(ops, before.Spec.HostAliases, after.Spec.HostAliases)
	return append(ops, patchSysctls(before.Spec.SecurityContext, after.Spec.SecurityContext)...)
}

// encodeOperations leaves "&", which begins each anchor in Envoy's configuration, as it is: [json.Marshal] takes six
// characters for it, and the API server reads them all.
func encodeOperations(ops []Operation) ([]byte, error) {
	type plain Operation // without the method that escapes
	all := make([]plain, len(ops))
	for i, op := range ops {
		if all[i] = plain(op); op.Value == nil && op.Operation != "remove" {
			all[i].Value = json.RawMessage("null")
		}
	}
	var patch bytes.Buffer
	encoder := json.NewEncoder(&patch)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(all); err != nil {
		return nil, fmt.Errorf("encoding the patch of the pod: %w", err)
	}
	return bytes.TrimSuffix(patch.Bytes(), []byte("\n")), nil
}

// patchSysctls leaves all else of a security context alone.
func patchSysctls(before, after *corev1.PodSecurityContext) []Operation {
	const path = "/spec/securityContext"
	type context struct {
		Sysctls []corev1.Sysctl `json:"sysctls,omitempty"`
	}
	switch {
	case after == nil:
		return nil
	case before == nil && len(after.Sysctls) == 0:
		return nil
	case before == nil: // nothing to add to
		return []Operation{{Operation: "add", Path: path, Value: context{after.Sysctls}}}
	}
	return patchItem(path, context{before.Sysctls}, context{after.Sysctls})
}

// setKeys appends what makes one map of the other. Adding a key that exists replaces it (RFC 6902, section 4.1).
func setKeys(ops []Operation, path string, before, after map[string]string) []Operation {
	if len(before) == 0 {
		if len(after) == 0 {
			return ops
		}
		return append(ops, Operation{Operation: "add", Path: path, Value: after}) // there may be no map to add to
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[key]; !kept {
			ops = append(ops, Operation{Operation: "remove", Path: path + "/" + pointerToken.Replace(key)})
		}
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

// patchList appends what makes one list of named items of the other. Items that are in both are in the same order in
// both, but for our own containers, which are removed and added again where they moved.
func patchList[T any](ops []Operation, path string, before, after []T, name func(T) string) []Operation {
	if len(before) == 0 {
		if len(after) == 0 {
			return ops
		}
		return append(ops, Operation{Operation: "add", Path: path, Value: after}) // there may be no list to add to
	}
	known := map[string]bool{}
	for _, item := range before {
		known[name(item)] = true
	}
	if moved(before, after, name) {
		for _, name := range ourContainers {
			delete(known, name)
		}
	}
	at := 0 // position in the list as it is after the operations so far
	next := 0
	for _, item := range before {
		for next < len(after) && !known[name(after[next])] {
			ops = append(ops, Operation{Operation: "add", Path: path + "/" + strconv.Itoa(at), Value: after[next]})
			at, next = at+1, next+1
		}
		if next == len(after) || name(after[next]) != name(item) {
			ops = append(ops, Operation{Operation: "remove", Path: path + "/" + strconv.Itoa(at)})
			continue
		}
		ops = append(ops, patchItem(path+"/"+strconv.Itoa(at), item, after[next])...)
		at, next = at+1, next+1
	}
	for ; next < len(after); next++ {
		ops = append(ops, Operation{Operation: "add", Path: path + "/-", Value: after[next]})
	}
	return ops
}

// moved says whether two lists have the items that are in both in another order.
func moved[T any](before, after []T, name func(T) string) bool {
	at := map[string]int{}
	for i, item := range after {
		at[name(item)] = i
	}
	last := -1
	for _, item := range before {
		i, ok := at[name(item)]
		if ok && i < last {
			return true
		}
		if ok {
			last = i
		}
	}
	return false
}

// patchItem compares two values of an API type field by field: what our API version does not know is in neither of
// them, and stays.
func patchItem(path string, before, after any) []Operation {
	if reflect.DeepEqual(before, after) {
		return nil
	}
	ops, err := jsonpatch.CreatePatch(encoded(asWritten(before)), encoded(asWritten(after)))
	if err != nil {
		panic(fmt.Sprintf("comparing two values of a Kubernetes API type: %v", err)) // cannot fail: both are JSON
	}
	for i := range ops {
		ops[i].Path = path + ops[i].Path
	}
	return ops
}

// asWritten takes from a container the one field that is encoded when it is empty too: people do not write it then, and
// nothing can be added inside of what is not there.
func asWritten(v any) any {
	c, isContainer := v.(corev1.Container)
	if !isContainer || !reflect.DeepEqual(c.Resources, corev1.ResourceRequirements{}) {
		return v
	}
	return struct {
		corev1.Container `json:",inline"`
		Resources        *corev1.ResourceRequirements `json:"resources,omitempty"`
	}{Container: c}
}

func encoded(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding a Kubernetes API type: %v", err)) // cannot fail: these types hold only what JSON has
	}
	return data
}
