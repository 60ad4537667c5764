package answers

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// NewPod keeps of a pod what answers look at: a small part, since they look at all pods of a cluster.
func NewPod(pod *corev1.Pod) Pod {
	small := inject.Trim(pod)
	small.CreationTimestamp, small.DeletionTimestamp = pod.CreationTimestamp, pod.DeletionTimestamp
	small.OwnerReferences = pod.OwnerReferences
	maps.DeleteFunc(small.Annotations, func(key, _ string) bool {
		return !strings.HasPrefix(key, intent.Prefix) && key != corev1.MirrorPodAnnotationKey
	})
	keep := func(to, from []corev1.Container) {
		for i := range from {
			to[i].Ports = from[i].Ports
			if from[i].Name == intent.SidecarName {
				to[i].Image = from[i].Image
			}
		}
	}
	keep(small.Spec.InitContainers, pod.Spec.InitContainers)
	keep(small.Spec.Containers, pod.Spec.Containers)
	small.Spec.HostNetwork = pod.Spec.HostNetwork
	small.Status.PodIP = pod.Status.PodIP
	small.Status.Conditions = slices.DeleteFunc(slices.Clone(pod.Status.Conditions), func(c corev1.PodCondition) bool {
		return c.Type != corev1.PodReady
	})
	p := Pod{Pod: small}
	if pod.Annotations[intent.AnnotationListeners] != "" {
		p.Config = inject.ConfigDigest(pod)
		for _, key := range intent.WrittenByWebhook() {
			p.written += len(pod.Annotations[key])
		}
	}
	return p
}

// runsEnvoy says whether there is an Envoy to ask.
func (p Pod) runsEnvoy() bool {
	return p.injected() && p.Config != "" && p.Status.Phase != corev1.PodPending && !p.ended() && p.DeletionTimestamp == nil
}

// key names the pod in maps.
func (p Pod) key() string { return p.Namespace + "/" + p.Name }

// injected says whether the webhook has made the pod what it is.
func (p Pod) injected() bool { return p.Labels[intent.LabelIdentity] != "" }

func (p Pod) ended() bool { return intent.Ended(p.Pod) }

func (p Pod) ready() bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Status == corev1.ConditionTrue })
}

// image is that of Envoy, empty without one.
func (p Pod) image() string {
	if p.Config == "" {
		return ""
	}
	for c := range intent.ContainersOf(p.Pod) {
		if c.Name == intent.SidecarName {
			return c.Image
		}
	}
	return ""
}
