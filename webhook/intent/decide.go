package intent

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Namespace is what of a pod's namespace takes part in a decision.
type Namespace struct {
	Name        string
	Labels      map[string]string
	Annotations map[string]string // defaults for the annotations of the namespace's pods
	// Services are those of the namespace that select pods. Running pods go without, and what runs without a cluster knows
	// those of its manifests.
	Services []Service
}

// Decision says whether a pod is injected, and why.
type Decision struct {
	Inject bool
	Reason reason.Reason
}

// Decide reads the labels of a pod and of its namespace:
//
//	pod label    namespace: none   enabled   disabled   required
//	none         leave             inject    leave      inject
//	enabled      inject            inject    inject     inject
//	disabled     leave             leave     leave      refuse
//
// Any other value is a mistake and refused, on the pod as on the namespace. The mirror of a static pod is left alone
// whatever they say: the kubelet runs the file that it was made from, and removes the mirror of no file.
func Decide(ns Namespace, pod *corev1.Pod) (Decision, error) {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return Decision{false, reason.MirrorPod}, nil
	}
	var mistakes []Mistake
	onPod, podLabelled := pod.Labels[LabelInject]
	switch onPod {
	case InjectEnabled, InjectDisabled:
	case InjectRequired:
		mistakes = append(mistakes, Mistake{Where: "label " + LabelInject,
			What: fmt.Sprintf(
				"expected %q or %q, got %q",
				InjectEnabled,
				InjectDisabled,
				onPod,
			), Hint: "required belongs on a Namespace"})
	default:
		if podLabelled {
			mistakes = append(mistakes, Mistake{Where: "label " + LabelInject,
				What: fmt.Sprintf(
					"expected %q or %q, got %q",
					InjectEnabled,
					InjectDisabled,
					onPod,
				), Hint: didYouMean(onPod, InjectEnabled, InjectDisabled)})
		}
	}
	onNamespace, namespaceLabelled := ns.Labels[LabelInject]
	switch onNamespace {
	case InjectEnabled, InjectDisabled, InjectRequired:
	default:
		if namespaceLabelled {
			mistakes = append(mistakes, Mistake{Where: fmt.Sprintf("label %s of namespace %s", LabelInject, ns.Name),
				What: fmt.Sprintf("expected %q, %q or %q, got %q", InjectEnabled, InjectDisabled, InjectRequired, onNamespace),
				Hint: didYouMean(onNamespace, InjectEnabled, InjectDisabled, InjectRequired)})
		}
	}
	if onPod == InjectDisabled && onNamespace == InjectRequired {
		mistakes = append(mistakes, Mistake{Where: "label " + LabelInject,
			What: fmt.Sprintf("namespace %s requires injection, a pod in it cannot opt out", ns.Name), Hint: "remove the label"})
	}
	if err := Refuse(reason.Invalid, mistakes); err != nil {
		return Decision{}, err
	}
	switch {
	case onNamespace == InjectRequired:
		return Decision{true, reason.NamespaceRequired}, nil
	case onPod == InjectEnabled:
		return Decision{true, reason.PodEnabled}, nil
	case onPod == InjectDisabled:
		return Decision{false, reason.PodDisabled}, nil
	case onNamespace == InjectEnabled:
		return Decision{true, reason.NamespaceEnabled}, nil
	}
	return Decision{false, reason.NotLabelled}, nil
}
