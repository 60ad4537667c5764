package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// netAdmin is what changing a pod's network takes.
const netAdmin = "NET_ADMIN"

// capturePart is the init container that leads connections from outside to Envoy.
var capturePart = part{
	mistakes: captureMistakes,
	wanted:   func(i injection) bool { return i.intent.Proxy.Captured },
	add:      addCapture,
	remove: func(pod *corev1.Pod, was Status) {
		if was.Capture != "" {
			removeInitContainer(pod, intent.CaptureName)
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		return sameContainer(arrived, injected, intent.CaptureName)
	},
}

func captureMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	mistakes := reserved(pod, intent.CaptureName, "has the name of an injected container")
	if !i.intent.Proxy.Captured || i.intent.Sidecar.Capture.Image != "" {
		return mistakes
	}
	return append(mistakes, intent.Mistake{
		Where: i.intent.Origins.Capture.Of(i.intent.Subject.Namespace),
		What:  "the platform file names no image that captures connections, so that the platform does not allow it",
		Hint: "ask the platform team to write sidecar.capture.image, which is the injector's own, or remove it and let callers " +
			"call Envoy's port",
	})
}

// addCapture puts the container in front of all others, so that none ever listens without the rules. If it fails, no
// other starts; where it did not run, Envoy's startup probe waits for [ir.CapturePort].
func addCapture(i injection, pod *corev1.Pod) {
	i.status.Capture = intent.CaptureName
	user := restricted(i.user)
	user.Capabilities.Add = []corev1.Capability{netAdmin}
	c := corev1.Container{
		Name:            intent.CaptureName,
		Image:           i.intent.Sidecar.Capture.Image,
		Args:            captureArgs(i.intent.Proxy),
		Resources:       i.intent.Sidecar.Capture.Resources,
		SecurityContext: user,
		VolumeMounts: []corev1.VolumeMount{
			{Name: ConfigVolume, MountPath: serviceAccountDir, ReadOnly: true}, // as in Envoy's
		},
	}
	putFirst(pod, c)
}

// captureArgs is the command line of that container.
func captureArgs(p ir.Proxy) []string {
	args := []string{"capture", "--ip-family", p.IPFamily.String()}
	for _, redirect := range p.Redirects() {
		args = append(args, "--redirect", redirect.String())
	}
	for _, redirect := range p.NameRedirects() {
		args = append(args, "--name", redirect.String())
	}
	for _, port := range p.OpenPorts() {
		args = append(args, "--open", fmt.Sprint(port))
	}
	return args
}

// startupPort is where the kubelet asks whether Envoy has started: in a captured pod one that exists by the rules alone,
// so that without them nothing starts.
func startupPort(p ir.Proxy) int32 {
	if p.Captured {
		return ir.CapturePort
	}
	return ir.ReadinessPort
}

// redirectsOf are a proxy's, for a status.
func redirectsOf(p ir.Proxy) []string {
	var redirects []string
	for _, r := range p.Redirects() {
		redirects = append(redirects, r.String())
	}
	for _, r := range p.NameRedirects() {
		redirects = append(redirects, r.String())
	}
	return redirects
}

// leadsRestOfNames says whether the rules of an injected pod lead all ports of its names to Envoy. Those of older versions
// did not.
func leadsRestOfNames(pod *corev1.Pod) bool {
	return slices.ContainsFunc(StatusOf(pod).envoy().Redirects, func(r string) bool { return strings.Contains(r, ":*:") })
}

// declaredIn keeps, of the containers of a captured pod, the ports that its listeners follow from.
func declaredIn(containers []corev1.Container) []corev1.Container {
	named := namesOf(containers)
	for n, c := range containers {
		for _, p := range c.Ports {
			named[n].Ports = append(named[n].Ports, corev1.ContainerPort{ContainerPort: p.ContainerPort, Protocol: p.Protocol})
		}
	}
	return named
}
