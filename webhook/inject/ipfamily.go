package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// platformOf is the platform of a pod that is injected already: its Envoy keeps the addresses that it listens on. Other
// ones would take the sockets from connections that are just being opened; and replicas that see the cluster with other
// addresses, while it gets IPv6, let each other's pods in.
func (i Injector) platformOf(pod *corev1.Pod) intent.Platform {
	p := i.Platform
	family, err := ir.ParseIPFamily(StatusOf(pod).envoy().IPFamily)
	if err == nil {
		p.IPFamily = &family
	}
	return p
}
