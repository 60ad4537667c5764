package webhook

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
)

// portMistakes finds two users of one port. All containers of a pod share its ports.
func portMistakes(in Intent, pod *corev1.Pod) []Mistake {
	takenBy := map[uint16]string{
		templates.AdminPort:     "the sidecar's admin interface",
		templates.ReadinessPort: "the sidecar's readiness endpoint",
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == SidecarName {
			continue
		}
		for _, p := range c.Ports {
			port, err := portNumber(int(p.ContainerPort))
			if err == nil && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
				takenBy[port] = "container " + c.Name
			}
		}
	}
	var mistakes []Mistake
	claim := func(where string, port uint16, use string) {
		if port == 0 {
			return // a mistake of its own, already told
		}
		if owner, taken := takenBy[port]; taken {
			mistakes = append(mistakes, Mistake{where, fmt.Sprintf("port %d is already used by %s", port, owner), "choose another port"})
			return
		}
		takenBy[port] = use
	}
	for _, l := range in.Inbound {
		if l.App == l.Listen {
			mistakes = append(mistakes, Mistake{"annotation " + AnnotationAppPort,
				fmt.Sprintf("port %d is the sidecar's own inbound port", l.App), "let the app listen on another port"})
			continue
		}
		claim("annotation "+AnnotationAppPort, l.Listen, "the inbound listener")
		takenBy[l.App] = "the app, by " + AnnotationAppPort
	}
	for i, u := range in.Upstreams {
		claim(fmt.Sprintf("annotation %s[%d].listen", AnnotationUpstreams, i), u.Listen, fmt.Sprintf("upstream %d", i))
	}
	return mistakes
}
