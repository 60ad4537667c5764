package rollout

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// tell makes an event about a pod, and the same about its owner, where its author looks.
func (r *Rollout) tell(pod *corev1.Pod, why reason.Reason, note string) {
	r.config.Event(pod, nil, why.EventType(nil), why, note)
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return
	}
	about := &corev1.ObjectReference{
		APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID,
	}
	r.config.Event(about, pod, why.EventType(nil), why, "pod "+pod.Name+": "+note)
}

// note says to people what happened, and what to do.
func (o *outcome) note(plan *Plan) string {
	var out strings.Builder
	if o.why != "" {
		fmt.Fprintf(&out, "the sidecar of this pod does not start with the image that it was given: %s", o.why)
	} else {
		fmt.Fprintf(&out, "Envoy refuses the configuration that this pod was given (%s), and goes on with the one before; "+
			"why is in the log of its container %s", strings.Join(o.verdict.Files, ", "), intent.SidecarName)
	}
	switch {
	case o.of.urgent:
		out.WriteString("; so it does not refuse the quarantined identities: delete the pod")
	case !o.of.ours:
		out.WriteString("; take back what was changed on the pod")
	case plan.Stopped():
		out.WriteString("; no further pod is changed until the platform file or the namespaces change again")
	case plan.NamespaceStopped(o.of.pod.Namespace):
		fmt.Fprintf(&out,
			"; no further pod of namespace %s is changed until its annotations or the platform file change again",
			o.of.pod.Namespace)
	default:
		fmt.Fprintf(&out,
			"; no further pod of %s is changed until the annotations of namespace %s or the platform file change again",
			workloadOf(o.of.pod), o.of.pod.Namespace)
	}
	return out.String()
}
