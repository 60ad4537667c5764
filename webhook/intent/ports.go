package intent

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// portMistakes finds two users of one port. All containers of a pod share its ports.
func portMistakes(in Intent, pod *corev1.Pod, written map[string]value) []Mistake {
	if !in.Mode.Envoy() {
		return nil
	}
	p := ports{written: written, sidecars: reservedPorts(in, pod), apps: map[uint16]string{}}
	p.takeApps(pod)
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
			p.tell(key, at(app, i), fmt.Sprintf("port %d is the sidecar's own inbound port", l.App), "let the app listen on another port")
			continue
		}
		p.claim(key, at(listen, i), l.Listen, "the inbound listener")
	}
	for i, u := range in.Upstreams {
		p.claim(AnnotationUpstreams, fmt.Sprintf("[%d].listen", i), u.Listen, fmt.Sprintf("upstream %d", i))
	}
	speaks := map[uint16]ir.Protocol{}
	for i, l := range in.Inbound {
		if l.App == 0 || l.App == l.Listen {
			continue
		}
		if owner := p.sidecars[l.App]; owner != "" {
			p.tell(key, at(app, i), fmt.Sprintf("expected a port of the app, but port %d is used by %s", l.App, owner), "let the app listen on another port")
		}
		if earlier, ok := speaks[l.App]; ok && earlier != l.Protocol {
			p.tell(key, at(app, i), fmt.Sprintf("expected protocol %s for the app's port %d, as in an earlier listener, got %s", earlier, l.App, l.Protocol), "")
		}
		speaks[l.App] = l.Protocol
	}
	if in.Mode.Sidecar {
		p.checkProbes(pod)
	}
	return p.mistakes
}

// ports are those of a pod by who listens there.
type ports struct {
	written  map[string]value
	sidecars map[uint16]string
	apps     map[uint16]string
	mistakes []Mistake
}

func (p *ports) tell(key, path, what, hint string) {
	p.mistakes = append(p.mistakes, Mistake{Where: p.written[key].where(key, path), What: what, Hint: hint})
}

// takeApps notes what the app's containers declare.
func (p *ports) takeApps(pod *corev1.Pod) {
	for c := range ContainersOf(pod) {
		if c.Name == SidecarName {
			continue
		}
		for _, declared := range c.Ports {
			port, err := portNumber(int(declared.ContainerPort))
			if err != nil || declared.Protocol != "" && declared.Protocol != corev1.ProtocolTCP {
				continue
			}
			if owner := p.sidecars[port]; owner != "" {
				p.mistakes = append(p.mistakes, Mistake{Where: "container " + c.Name + ", ports", What: fmt.Sprintf("port %d is used by %s", port, owner),
					Hint: "let the app listen on another port"})
			} else if p.apps[port] == "" {
				p.apps[port] = "container " + c.Name
			}
		}
	}
}

// claim gives a port to the sidecar.
func (p *ports) claim(key, path string, port uint16, use string) {
	owner := p.sidecars[port]
	if owner == "" {
		owner = p.apps[port]
	}
	switch {
	case port == 0: // a mistake of its own, already told
	case owner != "":
		p.tell(key, path, fmt.Sprintf("port %d is already used by %s", port, owner), "choose another port")
	default:
		p.sidecars[port] = use
	}
}

// checkProbes finds probes that would ask the sidecar what only the app can answer.
func (p *ports) checkProbes(pod *corev1.Pod) {
	for _, q := range Questions(pod) {
		if owner := p.sidecars[q.Asked.App]; owner != "" {
			p.mistakes = append(p.mistakes, Mistake{Where: fmt.Sprintf("container %s, %sProbe", q.container.Name, q.kind),
				What: fmt.Sprintf("expected a port of the app, but port %d is used by %s", q.Asked.App, owner), Hint: "probe the port on which the app itself listens"})
		}
	}
}

// reservedPorts are those that the sidecar has for itself.
func reservedPorts(in Intent, pod *corev1.Pod) map[uint16]string {
	reserved := map[uint16]string{
		ir.AdminPort:     "the sidecar's admin interface",
		ir.ReadinessPort: "the sidecar's readiness endpoint",
	}
	if in.Mode.Sidecar {
		for _, q := range Questions(pod) {
			reserved[q.Asked.Listen] = "the sidecar, for the kubelet's probes"
		}
	}
	if in.Tokens() {
		reserved[ir.JWTProbePort] = "the sidecar, for the kubelet's probes"
	}
	if port := in.Sidecar.Metrics.Port; port != 0 {
		reserved[port] = "the sidecar's statistics"
	}
	return reserved
}
