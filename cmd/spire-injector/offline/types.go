package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// typeMistake says in which container of a pod, and where in it, something has another type than the API's. Any other
// error stays as it is.
func typeMistake(pod json.RawMessage, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	var parts struct {
		Spec map[string]json.RawMessage `json:"spec"`
	}
	_ = json.Unmarshal(pod, &parts) // a spec that is no object is what is wrong
	for _, list := range []string{"initContainers", "containers"} {
		var containers []json.RawMessage
		_ = json.Unmarshal(parts.Spec[list], &containers)
		for n, raw := range containers {
			var c corev1.Container
			if !errors.As(json.Unmarshal(raw, &c), &wrong) {
				continue
			}
			return fmt.Errorf("spec.%s[%d]%s%s: %s", list, n, nameIn(raw), fieldIn(raw, wrong), expected(wrong))
		}
	}
	return fmt.Errorf("%s: %s", wrong.Field, expected(wrong))
}

// nameIn is the name of a container that may not be read as one.
func nameIn(container json.RawMessage) string {
	var named struct {
		Name any `json:"name"`
	}
	_ = json.Unmarshal(container, &named)
	if named.Name == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", named.Name)
}

// fieldIn is where in a container it is, with the index of a port.
func fieldIn(container json.RawMessage, wrong *json.UnmarshalTypeError) string {
	var with struct {
		Ports []json.RawMessage `json:"ports"`
	}
	if json.Unmarshal(container, &with) == nil {
		for n, raw := range with.Ports {
			var port corev1.ContainerPort
			var inPort *json.UnmarshalTypeError
			if errors.As(json.Unmarshal(raw, &port), &inPort) {
				return fmt.Sprintf(".ports[%d].%s", n, inPort.Field)
			}
		}
	}
	if wrong.Field == "" {
		return ""
	}
	return "." + wrong.Field
}

func expected(wrong *json.UnmarshalTypeError) string {
	want := "an object"
	switch wrong.Type.Kind() { //nolint:exhaustive // the rest are structs and maps
	case reflect.Int, reflect.Int32, reflect.Int64:
		want = "a whole number"
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Slice:
		want = "a list"
	}
	return fmt.Sprintf("expected %s, got %s", want, wrong.Value)
}
