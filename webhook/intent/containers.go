package intent

import (
	"fmt"
	"iter"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// ContainersOf are all containers of a pod, to be changed in place: init containers first, as they start.
func ContainersOf(pod *corev1.Pod) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// appPorts are the TCP ports that the pod's containers declare beside Envoy's.
func appPorts(pod *corev1.Pod) []ir.AppPort {
	var all []ir.AppPort
	for c := range ContainersOf(pod) {
		if c.Name == SidecarName {
			continue
		}
		for _, declared := range c.Ports {
			port, err := portNumber(int(declared.ContainerPort))
			if err != nil || declared.Protocol != "" && declared.Protocol != corev1.ProtocolTCP {
				continue
			}
			all = append(all, ir.AppPort{Container: c.Name, Port: port})
		}
	}
	return all
}

// PortName is the name of a listener's port on Envoy's container, by which Services may lead to it.
func PortName(l ir.Inbound) string {
	name := "mtls"
	switch {
	case l.TLS == ir.None:
		name = "plain"
	case l.Clients != ir.Require:
		name = "tls"
	}
	return fmt.Sprintf("%s-%d", name, l.Listen)
}

// Ended says whether all containers of a pod have ended, and none starts again.
func Ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
