package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// sidecarPart is Envoy beside the app.
var sidecarPart = part{
	mistakes: sidecarMistakes,
	wanted:   func(i injection) bool { return i.intent.Mode.Sidecar },
	add:      addSidecar,
	remove: func(pod *corev1.Pod, was Status) {
		if was.Mode != intent.ModeGateway.String() {
			removeContainer(pod, intent.SidecarName)
		}
	},
	same: sameEnvoy,
}

// sameEnvoy compares Envoy's container, of a sidecar or of a gateway.
func sameEnvoy(arrived, injected *corev1.Pod) []intent.Mistake {
	return sameContainer(arrived, injected, intent.SidecarName)
}

func sidecarMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	if !i.intent.Mode.Gateway {
		mistakes = reserved(pod, intent.SidecarName, "has the name of the injected sidecar")
		for n := range mistakes {
			mistakes[n].Hint = fmt.Sprintf("rename it, in somebody else's chart by a post-renderer such as kustomize; or leave the pod out by "+
				"the label %s: %s", intent.LabelInject, intent.InjectDisabled)
		}
	}
	ends := pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
	if i.intent.Mode.Sidecar && !i.Kubernetes.hasNativeSidecars() && ends {
		mistakes = append(mistakes, intent.Mistake{
			Where: "spec.restartPolicy",
			What: fmt.Sprintf("the pod would never complete: the sidecar goes on, because Kubernetes %s has no native sidecars",
				i.Kubernetes),
			Hint: fmt.Sprintf("use Kubernetes 1.29 or newer, or %s: %s", intent.AnnotationMode, intent.ModeSocket),
		})
	}
	return mistakes
}

// addSidecar puts Envoy in front of the pod's containers, as a native sidecar where there are such.
func addSidecar(i injection, pod *corev1.Pod) {
	i.status.Sidecar = intent.SidecarName
	c := i.envoy()
	if !i.Kubernetes.hasNativeSidecars() {
		pod.Spec.Containers = append([]corev1.Container{withinBudget(pod, c)}, pod.Spec.Containers...)
		return
	}
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	putFirst(pod, c) // so that the user's own init containers already have mTLS
}
