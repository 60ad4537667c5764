package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// labelOSBeta is the older name of [corev1.LabelOSStable].
const labelOSBeta = "beta.kubernetes.io/os"

// windowsField is the field by which a pod is for nodes with Windows alone, empty for any other pod.
func windowsField(pod *corev1.Pod) string {
	const windows = string(corev1.Windows)
	isOS := func(label string) bool { return label == corev1.LabelOSStable || label == labelOSBeta }
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return "spec.os.name"
	}
	for label, value := range pod.Spec.NodeSelector {
		if isOS(label) && value == windows {
			return "spec.nodeSelector"
		}
	}
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	elsewhere := func(term corev1.NodeSelectorTerm) bool { // it takes nodes with something else
		return !slices.ContainsFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return isOS(r.Key) && r.Operator == corev1.NodeSelectorOpIn && len(r.Values) > 0 &&
				!slices.ContainsFunc(r.Values, func(v string) bool { return v != windows })
		})
	}
	if len(terms) == 0 || slices.ContainsFunc(terms, elsewhere) {
		return ""
	}
	return "spec.affinity.nodeAffinity"
}
