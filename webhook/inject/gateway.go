package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// imageAuto is the image of a gateway's container that injection fills in.
const imageAuto = "auto"

// gatewayPart makes Envoy of the container with image auto.
var gatewayPart = part{
	mistakes: gatewayMistakes,
	wanted:   func(i injection) bool { return i.intent.Mode.Gateway },
	add:      fillGateway,
	remove:   emptyGateway,
	same:     sameEnvoy,
}

// gatewayMistakes are what hinders that a pod becomes a gateway: it is one container, of which the user says no more
// than is left to say.
func gatewayMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	if !i.intent.Mode.Gateway {
		return nil
	}
	var mistakes []intent.Mistake
	fail := func(where, what, hint string) {
		mistakes = append(mistakes, intent.Mistake{Where: where, What: what, Hint: hint})
	}
	found := false
	for c := range intent.ContainersOf(pod) {
		if c.Name != intent.SidecarName {
			fail("container "+c.Name, "a gateway is only an Envoy, in one container",
				"remove it, or use "+intent.AnnotationMode+": sidecar")
			continue
		}
		found = true
		where := "container " + intent.SidecarName
		if c.Image != imageAuto {
			fail(where+", image", "expected "+imageAuto+", got "+c.Image,
				"the image comes from the platform, or from "+intent.AnnotationProxyImage)
		}
		for _, field := range leftToInjection(*c) {
			fail(where+", "+field, "is left to injection in a gateway", "remove it")
		}
	}
	if !found {
		fail("containers", "expected a container "+intent.SidecarName+" with image "+imageAuto+" for a gateway, got none", "")
	}
	return mistakes
}

// leftToInjection are the fields of a gateway's container that are not the user's to write: all but these few, whatever
// a later version of the API has.
func leftToInjection(c corev1.Container) []string {
	c.VolumeMounts = otherMounts(c)
	return differences(defaulted(c), defaulted(usersOwn(c)))
}

// usersOwn is a gateway's container without what is left to injection.
func usersOwn(c corev1.Container) corev1.Container {
	return corev1.Container{
		Name:            c.Name,
		Image:           c.Image,
		ImagePullPolicy: c.ImagePullPolicy,
		Ports:           c.Ports,
		Resources:       c.Resources,
	}
}

// otherMounts are a container's mounts but for the service account token.
func otherMounts(c corev1.Container) []corev1.VolumeMount {
	return slices.DeleteFunc(slices.Clone(c.VolumeMounts), isServiceAccountToken)
}

// tokenVolumePrefix is how the names of the volumes begin that the API server adds for the token.
const tokenVolumePrefix = "kube-api-access-"

// isServiceAccountToken says whether a mount is the one that the API server adds before we see the pod.
func isServiceAccountToken(m corev1.VolumeMount) bool {
	return m.MountPath == serviceAccountDir && strings.HasPrefix(m.Name, tokenVolumePrefix)
}

// fillGateway leaves what the user says of ports, resources and the pull policy.
func fillGateway(i injection, pod *corev1.Pod) {
	i.status.Sidecar = intent.SidecarName
	for n := range pod.Spec.Containers {
		c := &pod.Spec.Containers[n]
		if c.Name != intent.SidecarName {
			continue
		}
		envoy := i.envoy()
		c.Image, c.Args, c.SecurityContext = envoy.Image, envoy.Args, envoy.SecurityContext
		c.StartupProbe, c.ReadinessProbe = envoy.StartupProbe, envoy.ReadinessProbe
		if c.ImagePullPolicy == corev1.PullAlways {
			// What the API server makes of an image without a tag, before we see the pod: let it look at the real one.
			c.ImagePullPolicy = ""
		}
		// Envoy has no use for the token.
		c.VolumeMounts = append(otherMounts(*c), envoy.VolumeMounts...)
		for _, p := range envoy.Ports {
			if !slices.ContainsFunc(c.Ports, func(own corev1.ContainerPort) bool { return isSamePort(own, p) }) {
				c.Ports = append(c.Ports, p)
			}
		}
		if len(c.Resources.Requests)+len(c.Resources.Limits) == 0 && pod.Spec.Resources == nil {
			c.Resources = envoy.Resources
		}
	}
	dropToken(pod)
}

// isSamePort says whether two entries are for one port, whatever their names.
func isSamePort(own, ours corev1.ContainerPort) bool {
	return own.ContainerPort == ours.ContainerPort && (own.Protocol == "" || own.Protocol == ours.Protocol)
}

// dropToken removes the volume of the service account's token when nothing mounts it any more.
func dropToken(pod *corev1.Pod) {
	isMounted := func(volume string) bool {
		for c := range intent.ContainersOf(pod) {
			if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) {
				return true
			}
		}
		return false
	}
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return strings.HasPrefix(v.Name, tokenVolumePrefix) && !isMounted(v.Name)
	})
}

// emptyGateway is the opposite of fillGateway. Ports and resources stay: they are the user's as well.
func emptyGateway(pod *corev1.Pod, was Status) {
	if was.Mode != intent.ModeGateway.String() {
		return
	}
	for n := range pod.Spec.Containers {
		c := &pod.Spec.Containers[n]
		if c.Name != intent.SidecarName {
			continue
		}
		c.Image, c.Args, c.SecurityContext, c.StartupProbe, c.ReadinessProbe = imageAuto, nil, nil, nil, nil
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return isOurVolume(m.Name) })
	}
}
