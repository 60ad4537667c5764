package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// podPointers says where the kinds that have pods keep the metadata and spec of these, as a JSON pointer (RFC 6901).
var podPointers = map[string]string{
	"v1/Pod":                   "",
	"v1/PodTemplate":           "/template",
	"v1/ReplicationController": "/spec/template",
	"apps/v1/DaemonSet":        "/spec/template",
	"apps/v1/Deployment":       "/spec/template",
	"apps/v1/ReplicaSet":       "/spec/template",
	"apps/v1/StatefulSet":      "/spec/template",
	"batch/v1/Job":             "/spec/template",
	"batch/v1/CronJob":         "/spec/jobTemplate/spec/template",
}

// PodPointer is where an object of a kind, such as "apps/v1/Deployment", keeps its pod, as a JSON pointer: empty for a
// pod itself. It is false for kinds that have none.
func PodPointer(kind string) (pointer string, hasPod bool) {
	pointer, hasPod = podPointers[kind]
	return pointer, hasPod
}

// Kinds are the kinds that have pods, such as "apps/v1/Deployment", in order.
func Kinds() []string { return slices.Sorted(maps.Keys(podPointers)) }

// At returns the pod or pod template at a pointer from [PodPointer].
func At(object json.RawMessage, pointer string) (json.RawMessage, error) {
	for _, key := range strings.Split(pointer, "/")[1:] {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(object, &fields); err != nil {
			return nil, err
		}
		object = fields[key]
		if object == nil || string(object) == "null" {
			return nil, fmt.Errorf("expected a pod template at %s, got nothing", pointer)
		}
		if object[0] != '{' {
			return nil, fmt.Errorf("expected a pod template at %s, got %.40s", pointer, object)
		}
	}
	return object, nil
}
