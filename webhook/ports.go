package webhook

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
)

// portMistakes finds two users of one port. All containers of a pod share its ports.
func portMistakes(in Intent, pod *corev1.Pod, written map[string]value) []Mistake {
	if !in.Mode.Envoy() {
		return nil
	}
	takenBy := reservedPorts(in, pod)
	for c := range containersOf(pod) {
		if c.Name == SidecarName {
			continue
		}
		for _, p := range c.Ports {
			port, err := portNumber(int(p.ContainerPort))
			if err == nil && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) && takenBy[port] == "" {
				takenBy[port] = "container " + c.Name
			}
		}
	}
	var mistakes []Mistake
	tell := func(key, path, what, hint string) {
		mistakes = append(mistakes, Mistake{written[key].where(key, path), what, hint})
	}
	listening := map[uint16]string{} // what of the sidecar listens where
	claim := func(key, path string, port uint16, use string) {
		if port == 0 {
			return // a mistake of its own, already told
		}
		if owner := takenBy[port]; owner != "" {
			tell(key, path, fmt.Sprintf("port %d is already used by %s", port, owner), "choose another port")
			return
		}
		takenBy[port], listening[port] = use, use
	}
	key, listen, app := AnnotationInbound, "[%d].listen", "[%d].app"
	if _, short := written[AnnotationAppPort]; short {
		key, listen, app = AnnotationAppPort, "", ""
	}
	at := func(path string, i int) string {
		if path == "" {
			return ""
		}
		return fmt.Sprintf(path, i)
	}
	for i, l := range in.Inbound {
		if l.App == l.Listen && l.App != 0 {
			tell(key, at(app, i), fmt.Sprintf("port %d is the sidecar's own inbound port", l.App), "let the app listen on another port")
			continue
		}
		claim(key, at(listen, i), l.Listen, "the inbound listener")
	}
	for i, u := range in.Upstreams {
		claim(AnnotationUpstreams, fmt.Sprintf("[%d].listen", i), u.Listen, fmt.Sprintf("upstream %d", i))
	}
	speaks := map[uint16]templates.Protocol{}
	for i, l := range in.Inbound {
		if l.App == 0 || l.App == l.Listen {
			continue
		}
		owner := listening[l.App]
		if reserved := reservedPorts(in, pod)[l.App]; reserved != "" {
			owner = reserved
		}
		if owner != "" {
			tell(key, at(app, i), fmt.Sprintf("expected a port of the app, but port %d is used by %s", l.App, owner), "let the app listen on another port")
		}
		if earlier, ok := speaks[l.App]; ok && earlier != l.Protocol {
			tell(key, at(app, i), fmt.Sprintf("expected protocol %s for the app's port %d, as in an earlier listener, got %s", earlier, l.App, l.Protocol), "")
		}
		speaks[l.App] = l.Protocol
	}
	return mistakes
}

// reservedPorts are those that the sidecar has for itself.
func reservedPorts(in Intent, pod *corev1.Pod) map[uint16]string {
	ports := map[uint16]string{
		templates.AdminPort:     "the sidecar's admin interface",
		templates.ReadinessPort: "the sidecar's readiness endpoint",
	}
	if in.Mode.Sidecar {
		probes, _ := redirectProbes(pod.DeepCopy())
		for _, p := range probes {
			ports[p.Listen] = "the sidecar, for the kubelet's probes"
		}
	}
	if port := in.Sidecar.Metrics.Port; port != 0 {
		ports[port] = "the sidecar's statistics"
	}
	return ports
}
