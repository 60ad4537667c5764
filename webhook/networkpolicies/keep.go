package networkpolicies

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// keptPorts is where a pod in the cache has the ports of its Envoy. No annotation of the API server's can be called so.
const keptPorts = "ports of Envoy"

// KeepPorts lets a cache keep the ports of a pod's Envoy where transform drops the containers' fields.
func KeepPorts(transform toolscache.TransformFunc) toolscache.TransformFunc {
	return func(object any) (any, error) {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return transform(object)
		}
		text, kept := pod.Annotations[keptPorts] // a cache may transform an object twice
		if !kept {
			if ports, has := inject.EnvoyPorts(pod); has {
				text, kept = written(ports), true
			}
		}
		out, err := transform(pod)
		if small, ok := out.(*corev1.Pod); ok && err == nil && kept {
			if small.Annotations == nil {
				small.Annotations = map[string]string{}
			}
			small.Annotations[keptPorts] = text
		}
		return out, err
	}
}

func written(ports []uint16) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		texts[i] = strconv.Itoa(int(port))
	}
	return strings.Join(texts, " ")
}

// PodOf is what counts of a pod, whole or as [KeepPorts] leaves it. False says that it has ended, and counts for nothing.
func PodOf(platform intent.Platform, ns intent.Namespace, pod *corev1.Pod) (Pod, bool) {
	if intent.Ended(pod) {
		return Pod{}, false
	}
	p := Pod{Identity: pod.Labels[intent.LabelIdentity]}
	if text, kept := pod.Annotations[keptPorts]; kept {
		p.Envoy = true
		for field := range strings.FieldsSeq(text) {
			if port, err := strconv.ParseUint(field, 10, 16); err == nil {
				p.Ports = append(p.Ports, uint16(port))
			}
		}
	} else {
		p.Ports, p.Envoy = inject.EnvoyPorts(pod)
	}
	if p.Envoy {
		p.Ports = append(p.Ports, platform.PlainPorts(ns, pod)...)
	}
	return p, true
}

// alike says that two states of a pod count for the same, where its namespace does.
func alike(before, after any) bool {
	b, okB := before.(*corev1.Pod)
	a, okA := after.(*corev1.Pod)
	if !okB || !okA {
		return false
	}
	return b.UID == a.UID && intent.Ended(b) == intent.Ended(a) &&
		b.Labels[intent.LabelIdentity] == a.Labels[intent.LabelIdentity] &&
		b.Annotations[keptPorts] == a.Annotations[keptPorts] &&
		b.Annotations[intent.AnnotationPlainPorts] == a.Annotations[intent.AnnotationPlainPorts]
}
