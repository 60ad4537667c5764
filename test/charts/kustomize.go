package charts

import (
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// FromKustomize are the objects of a kustomization as a chart can have them too:
//   - without the Namespace: Helm keeps its release there, and so it has to exist before;
//   - without a namespace where the kind has none, which kustomize gives to those that it does not know;
//   - without the hash of their content in the names of ConfigMaps: charts keep the name, and roll pods by an annotation;
//   - and with files in ConfigMaps by their meaning.
func FromKustomize(manifests string) (Objects, error) {
	objects, err := Decode(manifests)
	if err != nil {
		return nil, err
	}
	out := Objects{}
	names := hashed(objects)
	for _, object := range objects {
		if object.GetKind() == "Namespace" {
			continue
		}
		if strings.HasPrefix(object.GetAPIVersion(), "admissionregistration.k8s.io/") {
			object.SetNamespace("")
		}
		object.Object = renamed(object.Object, names).(map[string]any)
		if err := readFiles(object); err != nil {
			return nil, err
		}
		if err := out.add(object); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hash is what kustomize appends to a name.
var hash = regexp.MustCompile(`-[bcdfghkmt2456789]{10}$`)

// hashed are the names of ConfigMaps with a hash, and those without.
func hashed(objects Objects) map[string]string {
	names := map[string]string{}
	for _, object := range objects {
		if name := object.GetName(); object.GetKind() == "ConfigMap" && hash.MatchString(name) {
			names[name] = hash.ReplaceAllString(name, "")
		}
	}
	return names
}

// renamed is a value with texts replaced, wherever one is the whole text.
func renamed(value any, names map[string]string) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = renamed(v[key], names)
		}
	case []any:
		for i := range v {
			v[i] = renamed(v[i], names)
		}
	case string:
		if name, ok := names[v]; ok {
			return name
		}
	}
	return value
}

// without removes a field, and what it leaves empty around it.
func without(object unstructured.Unstructured, fields ...string) {
	unstructured.RemoveNestedField(object.Object, fields...)
	for around := fields[:len(fields)-1]; len(around) > 0; around = around[:len(around)-1] {
		if left, _, _ := unstructured.NestedMap(object.Object, around...); len(left) > 0 {
			return
		}
		unstructured.RemoveNestedField(object.Object, around...)
	}
}
