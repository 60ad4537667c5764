package intent

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// PodHook is an HTTP hook of a container that Envoy passes on, as it does with probes.
type PodHook struct {
	Container *corev1.Container
	Kind      string // postStart or preStop
	Get       *corev1.HTTPGetAction
	Asked     ir.Probe // what Envoy is asked instead, and what of the app
}

// Key names the hook in a pod's status.
func (h PodHook) Key() string { return h.Container.Name + "/" + h.Kind }

// HooksOf are the hooks of a pod that Envoy has to do with. They point into the pod. Envoy takes them at any time: the
// app starts after it, and ends before it.
// The app is where the proxy says, as for [ProbesOf].
func HooksOf(pod *corev1.Pod, proxy ir.Proxy) []PodHook {
	var all []PodHook
	for c := range ContainersOf(pod) {
		if c.Lifecycle == nil {
			continue
		}
		for _, h := range []struct {
			kind    string
			handler *corev1.LifecycleHandler
		}{{"postStart", c.Lifecycle.PostStart}, {"preStop", c.Lifecycle.PreStop}} {
			if h.handler == nil || h.handler.HTTPGet == nil {
				continue
			}
			asked, ok := probeOf(c, h.kind, corev1.ProbeHandler{HTTPGet: h.handler.HTTPGet})
			asked.AppHost = proxy.AppHostOf(asked.App)
			if !ok || !proxy.PassesOn(asked) {
				continue
			}
			asked.Listen, asked.Path = ir.HookPort, HookPath(c, h.kind)
			all = append(all, PodHook{Container: c, Kind: h.kind, Get: h.handler.HTTPGet, Asked: asked})
		}
	}
	return all
}

// HookPath is where the kubelet asks Envoy for one hook.
func HookPath(c *corev1.Container, kind string) string {
	return fmt.Sprintf("/hook/%s/%s", c.Name, kind)
}

// readProbes are the probes and hooks that Envoy passes on.
func (r *reader) readProbes(pod *corev1.Pod) {
	r.askers = map[ir.Probe]string{}
	add := func(asked ir.Probe, where string) {
		if _, known := r.askers[asked]; known {
			return // gRPC probes of one port ask the same of Envoy, whatever service they name
		}
		r.askers[asked] = where
		r.Proxy.Probes = append(r.Proxy.Probes, asked)
	}
	for _, p := range ProbesOf(pod, r.Proxy) {
		add(p.Asked, fmt.Sprintf("container %s, %sProbe", p.Container.Name, p.Kind))
	}
	for _, h := range HooksOf(pod, r.Proxy) {
		add(h.Asked, fmt.Sprintf("container %s, lifecycle.%s", h.Container.Name, h.Kind))
	}
}
