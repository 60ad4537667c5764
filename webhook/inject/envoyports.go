package inject

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// EnvoyPorts are the ports on which others than the pod itself call the Envoy of an injected pod, in order: those that
// its container declares, for callers and statistics; readiness, which the rollout asks too; and those of the probes and
// hooks that it answers; and, in a captured pod, the app's that lead to it. False says that the pod has no Envoy, or is not injected.
func EnvoyPorts(pod *corev1.Pod) ([]uint16, bool) {
	envoy := containerNamed(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), intent.SidecarName)
	if envoy == nil || !injected(pod) {
		return nil, false
	}
	ports := []uint16{ir.ReadinessPort}
	add := func(port int32) {
		if p := uint16(port); !slices.Contains(ports, p) { //nolint:gosec // the API server takes no others
			ports = append(ports, p)
		}
	}
	for _, p := range envoy.Ports {
		if p.Protocol == corev1.ProtocolTCP || p.Protocol == "" {
			add(p.ContainerPort)
		}
	}
	for _, redirect := range StatusOf(pod).envoy().Redirects { // a network sees a connection before the pod's rules do
		from, _, _ := strings.Cut(redirect, ":")
		if port, err := strconv.ParseUint(from, 10, 16); err == nil {
			add(int32(port)) //nolint:gosec // 16 bits
		}
	}
	for c := range intent.ContainersOf(pod) {
		for _, asked := range askedPorts(c) {
			if ir.IsOwnPort(int(asked)) && asked != ir.AdminPort {
				add(asked)
			}
		}
	}
	slices.Sort(ports)
	return ports, true
}

// askedPorts are the numbers of the ports that the kubelet asks on behalf of a container.
func askedPorts(c *corev1.Container) []int32 {
	var ports []int32
	number := func(p intstr.IntOrString) {
		if p.Type == intstr.Int {
			ports = append(ports, p.IntVal)
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		switch {
		case p == nil:
		case p.HTTPGet != nil:
			number(p.HTTPGet.Port)
		case p.TCPSocket != nil:
			number(p.TCPSocket.Port)
		case p.GRPC != nil:
			ports = append(ports, p.GRPC.Port)
		}
	}
	if c.Lifecycle == nil {
		return ports
	}
	for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
		if h != nil && h.HTTPGet != nil {
			number(h.HTTPGet.Port)
		}
	}
	return ports
}
