package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// hooksPart lets the HTTP hooks of the app go through Envoy.
var hooksPart = part{
	wanted: func(i injection) bool { return i.intent.Mode.Sidecar && i.redirectsHooks() },
	add:    redirectHooks,
	remove: func(pod *corev1.Pod, was Status) {
		for c := range intent.ContainersOf(pod) {
			restoreHooks(c, was.Hooks)
		}
	},
	same: sameHooks,
}

// redirectsHooks says whether Envoy is there when hooks run. It is not where it is a container as any other: there it may
// start after a postStart hook, and ends while preStop hooks run.
func (i Injector) redirectsHooks() bool { return i.Kubernetes.hasNativeSidecars() }

// withoutHooks are the probes of a pod whose hooks are left alone.
func withoutHooks(probes []ir.Probe) []ir.Probe {
	return slices.DeleteFunc(slices.Clone(probes), func(p ir.Probe) bool { return p.Listen == ir.HookPort })
}

// redirectHooks notes the hooks as they were, by "container/kind".
func redirectHooks(i injection, pod *corev1.Pod) {
	for _, hook := range intent.HooksOf(pod, i.intent.Proxy) {
		if i.status.Hooks == nil {
			i.status.Hooks = map[string]corev1.HTTPGetAction{}
		}
		original := completed(corev1.ProbeHandler{HTTPGet: hook.Get.DeepCopy()})
		i.status.Hooks[hook.Key()] = *original.HTTPGet
		redirect(&corev1.ProbeHandler{HTTPGet: hook.Get}, hook.Asked)
	}
}

// restoreHooks gives the hooks back what they asked. One that asks Envoy and whose original is not known goes.
func restoreHooks(c *corev1.Container, originals map[string]corev1.HTTPGetAction) {
	if c.Lifecycle == nil {
		return
	}
	restored := func(kind string, h *corev1.LifecycleHandler) *corev1.LifecycleHandler {
		if h == nil || h.HTTPGet == nil {
			return h
		}
		if original, ok := originals[c.Name+"/"+kind]; ok {
			h.HTTPGet = original.DeepCopy()
		} else if h.HTTPGet.Port.IntVal == ir.HookPort && h.HTTPGet.Path == intent.HookPath(c, kind) {
			return nil
		}
		return h
	}
	c.Lifecycle.PostStart = restored("postStart", c.Lifecycle.PostStart)
	c.Lifecycle.PreStop = restored("preStop", c.Lifecycle.PreStop)
	if *c.Lifecycle == (corev1.Lifecycle{}) {
		c.Lifecycle = nil
	}
}

func sameHooks(arrived, injected *corev1.Pod) []intent.Mistake {
	return sameInContainers(arrived, injected, func(c corev1.Container) any {
		return corev1.Container{Lifecycle: c.Lifecycle}
	})
}
