package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// AppPorts are the ports of an injected pod's app to which its Envoy leads callers, in order. There are none where no
// Envoy stands before an app. For a pod that an older version injected they are those that injection would lead to now,
// if it can.
func AppPorts(p intent.Platform, ns intent.Namespace, pod *corev1.Pod) []uint16 {
	if !injected(pod) {
		return nil
	}
	if e := StatusOf(pod).Envoy; e != nil {
		return slices.Sorted(slices.Values(e.App))
	}
	in, mistakes := intent.ParseAdmitted(p, ns, strip(pod), AppProtocolsOf(pod))
	if len(mistakes) > 0 || !in.Mode.Sidecar {
		return nil
	}
	return slices.Sorted(slices.Values(envoyStatus(in, "").App))
}
