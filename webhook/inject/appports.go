package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// AppPorts are the ports of an injected pod's app to which its Envoy leads callers, in order. There are none where no Envoy stands
// before an app, or where the platform does not understand any more what the pod asks for.
func AppPorts(p intent.Platform, ns intent.Namespace, pod *corev1.Pod) []uint16 {
	if !injected(pod) {
		return nil
	}
	in, mistakes := intent.ParseIntent(p, ns, strip(pod))
	if len(mistakes) > 0 || !in.Mode.Sidecar {
		return nil
	}
	var ports []uint16
	for _, l := range in.Proxy.Inbound {
		ports = append(ports, l.App)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}
