package inject

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// probesPart lets the probes of the app ask Envoy.
var probesPart = part{
	wanted: func(i injection) bool { return i.intent.Mode.Sidecar },
	add:    redirectProbes,
	remove: func(pod *corev1.Pod, was Status) {
		for c := range intent.ContainersOf(pod) {
			restoreProbes(c, was.Probes)
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		return sameInContainers(arrived, injected, func(c corev1.Container) any {
			return corev1.Container{
				StartupProbe: c.StartupProbe, LivenessProbe: c.LivenessProbe, ReadinessProbe: c.ReadinessProbe,
			}
		})
	},
}

// redirectProbes notes the probes as they were, by "container/kind".
func redirectProbes(i injection, pod *corev1.Pod) {
	originals := map[string]corev1.ProbeHandler{}
	for _, probe := range intent.ProbesOf(pod, i.intent.Proxy) {
		originals[probe.Key()] = completed(*probe.Handler.DeepCopy())
		redirect(probe.Handler, probe.Asked)
	}
	i.status.Probes = originals
}

// completed has the API server's defaults, so that a pod's status is the same whether we see the pod before it gets
// them or after.
func completed(h corev1.ProbeHandler) corev1.ProbeHandler {
	if g := h.HTTPGet; g != nil {
		g.Path, g.Scheme = cmp.Or(g.Path, "/"), cmp.Or(g.Scheme, corev1.URISchemeHTTP)
	}
	if h.GRPC != nil && h.GRPC.Service == nil {
		h.GRPC.Service = new("")
	}
	return h
}

// redirect changes a probe so that it asks Envoy. Headers and all that is not about the destination stay.
func redirect(h *corev1.ProbeHandler, p ir.Probe) {
	port := intstr.FromInt32(int32(p.Listen))
	switch p.Kind {
	case ir.ProbeGRPC:
		h.GRPC.Port = int32(p.Listen)
	case ir.ProbeTCP:
		h.TCPSocket, h.HTTPGet = nil, &corev1.HTTPGetAction{Path: p.Path, Port: port, Scheme: corev1.URISchemeHTTP}
	default:
		h.HTTPGet.Path, h.HTTPGet.Port, h.HTTPGet.Scheme = p.Path, port, corev1.URISchemeHTTP
	}
}

// restoreProbes gives the probes back what they asked. One that asks Envoy and whose original is not known goes.
func restoreProbes(c *corev1.Container, originals map[string]corev1.ProbeHandler) {
	restored := func(kind string, p *corev1.Probe) *corev1.Probe {
		if p == nil {
			return nil
		}
		if original, ok := originals[c.Name+"/"+kind]; ok {
			p.ProbeHandler = *original.DeepCopy()
		} else if g := p.HTTPGet; g != nil && g.Port.IntVal == ir.ProbePort && g.Path == intent.ProbePath(c, kind) {
			return nil
		}
		return p
	}
	c.StartupProbe = restored("startup", c.StartupProbe)
	c.LivenessProbe = restored("liveness", c.LivenessProbe)
	c.ReadinessProbe = restored("readiness", c.ReadinessProbe)
}
