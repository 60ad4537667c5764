package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// identityPart is the label that the registration entries select, beside the names of containers.
var identityPart = part{
	mistakes: identityMistakes,
	add: func(i injection, pod *corev1.Pod) {
		pod.Labels = merged(pod.Labels, map[string]string{intent.LabelIdentity: registrar.IdentityHash(i.intent.ID)})
	},
	remove: func(pod *corev1.Pod, _ Status) { delete(pod.Labels, intent.LabelIdentity) },
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		if arrived.Labels[intent.LabelIdentity] == injected.Labels[intent.LabelIdentity] {
			return nil
		}
		return []intent.Mistake{isAltered("label " + intent.LabelIdentity)}
	},
}

func identityMistakes(_ injection, pod *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	if _, ok := pod.Labels[intent.LabelIdentity]; ok {
		mistakes = append(mistakes, intent.Mistake{
			Where: "label " + intent.LabelIdentity, What: "is written by the webhook alone", Hint: "remove it",
		})
	}
	// The API server would say so too, but later: entries select by these names, and the status names probes by them.
	names := map[string]bool{}
	for c := range intent.ContainersOf(pod) {
		if errs := validation.IsDNS1123Label(c.Name); len(errs) > 0 {
			mistakes = append(mistakes, intent.Mistake{
				Where: fmt.Sprintf("container %q", c.Name),
				What:  "expected a name of lower case letters, digits and -, in at most 63 characters",
				Hint:  "rename it",
			})
		} else if names[c.Name] {
			mistakes = append(mistakes, intent.Mistake{
				Where: "container " + c.Name, What: "another container has the same name", Hint: "rename one of them",
			})
		}
		names[c.Name] = true
	}
	return mistakes
}
