package charts

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Differences lists what differs between the objects of a kustomization and those of a chart, each with its path, in
// order.
func Differences(kustomize, helm Objects) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(union(kustomize, helm))) {
		k, inKustomize := kustomize[key]
		h, inHelm := helm[key]
		switch {
		case !inHelm:
			out = append(out, key+": only kustomize has it")
		case !inKustomize:
			out = append(out, key+": only Helm has it")
		default:
			out = append(out, differ(key+":", k.Object, h.Object)...)
		}
	}
	return out
}

// differ compares two values that have one path.
func differ(path string, kustomize, helm any) []string {
	switch k := kustomize.(type) {
	case map[string]any:
		if h, ok := helm.(map[string]any); ok {
			return differInFields(path, k, h)
		}
	case []any:
		if h, ok := helm.([]any); ok && len(k) == len(h) {
			var out []string
			for i := range k {
				out = append(out, differ(fmt.Sprintf("%s[%d]", path, i), k[i], h[i])...)
			}
			return out
		}
	case []map[string]any: // a block of HCL
		if h, ok := helm.([]map[string]any); ok && len(k) == len(h) {
			var out []string
			for i := range k {
				out = append(out, differInFields(path, k[i], h[i])...)
			}
			return out
		}
	}
	if leaf(kustomize) == leaf(helm) {
		return nil
	}
	return []string{fmt.Sprintf("%s kustomize %s, Helm %s", path, shown(kustomize), shown(helm))}
}

func differInFields(path string, kustomize, helm map[string]any) []string {
	var out []string
	for _, field := range slices.Sorted(maps.Keys(union(kustomize, helm))) {
		k, inKustomize := kustomize[field]
		h, inHelm := helm[field]
		path := path + "." + field
		switch {
		case !inHelm:
			out = append(out, fmt.Sprintf("%s kustomize %s, Helm nothing", path, shown(k)))
		case !inKustomize:
			out = append(out, fmt.Sprintf("%s kustomize nothing, Helm %s", path, shown(h)))
		case field == "volumes":
			out = append(out, differ(path, byName(k), byName(h))...)
		default:
			out = append(out, differ(path, k, h)...)
		}
	}
	return out
}

// byName puts volumes in order: a pod's are a set, of which kustomize puts those first that an overlay changes.
func byName(volumes any) any {
	list, ok := volumes.([]any)
	if !ok {
		return volumes
	}
	name := func(volume any) string {
		fields, _ := volume.(map[string]any)
		return fmt.Sprint(fields["name"])
	}
	return slices.SortedFunc(slices.Values(list), func(a, b any) int { return strings.Compare(name(a), name(b)) })
}

func union[V any](a, b map[string]V) map[string]bool {
	keys := map[string]bool{}
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

// leaf is a value that can be compared: 1 and 1.0 are one number.
func leaf(value any) any {
	switch v := reflect.ValueOf(value); {
	case value == nil:
		return nil
	case v.CanInt():
		return float64(v.Int())
	case v.Comparable():
		return value
	default:
		return fmt.Sprintf("%#v", value)
	}
}

func shown(value any) string {
	text := fmt.Sprintf("%q", fmt.Sprint(value))
	if limit := 200; len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}
