package intent

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Bounds of what is told of Services that lead past Envoy: a namespace may have any number, of any number of ports.
const (
	maxPastServices = 3
	maxPastPorts    = 4
)

// PastPort is a port of a Service that leads to an app, past the listener which is before it.
type PastPort struct {
	Port, Target uint16
	Listen       uint16 // of Envoy
}

// PastEnvoy is where a port of a Service leads that comes to the app, and not to Envoy before it; false if it does not.
func PastEnvoy(p ir.Proxy, port, target uint16) (PastPort, bool) {
	at := slices.IndexFunc(p.Inbound, func(in ir.Inbound) bool { return in.App == target })
	if target == 0 || at < 0 || p.ServerOf(target) >= 0 {
		return PastPort{}, false
	}
	return PastPort{Port: port, Target: target, Listen: p.Inbound[at].Listen}, true
}

// PastEnvoyOf says what ports of a Service lead past whose Envoy, and what to do.
func PastEnvoyOf(whose string, ports []PastPort) (found, remedy string) {
	var ways, listens []string
	add := func(to *[]string, text string) {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	for _, p := range ports[:min(len(ports), maxPastPorts)] {
		add(&ways, fmt.Sprintf("%d → %d", p.Port, p.Target))
		add(&listens, fmt.Sprint(p.Listen))
	}
	if more := len(ports) - maxPastPorts; more > 0 {
		add(&ways, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s, past the Envoy of %s, which listens on %s", strings.Join(ways, ", "), whose, strings.Join(listens, " or ")),
		fmt.Sprintf("plain text comes in here: write targetPort: %d, or %s: %s for the pods; or take the port away once nobody "+
			"calls it, and let the app listen on 127.0.0.1", ports[0].Listen, AnnotationCapture, captureInbound)
}

// noteServices warns of Services that lead to a new pod's app past its Envoy. A port that is open on purpose is no news.
func (r *reader) noteServices(ns Namespace, pod *corev1.Pod) {
	if r.admitted != nil || !r.Mode.Sidecar || len(r.Proxy.Inbound) == 0 || len(ns.Services) == 0 {
		return
	}
	plain := r.platform.PlainPorts(ns, pod)
	told, more := 0, 0
	for _, s := range ns.Selecting(pod).Services {
		ports := s.pastEnvoy(r.Proxy, pod, plain)
		switch {
		case len(ports) == 0:
		case told == maxPastServices:
			more++
		default:
			told++
			found, remedy := PastEnvoyOf("this pod", ports)
			r.Notes = append(r.Notes, Mistake{Where: fmt.Sprintf("Service %s/%s", ns.Name, s.Name), What: found, Hint: remedy})
		}
	}
	if more > 0 {
		r.Notes = append(r.Notes, Mistake{Where: "Services", What: fmt.Sprintf("%d more lead past the Envoy of this pod", more)})
	}
}

// pastEnvoy are the ports that lead past a pod's Envoy, but for those to ports of the pod that are plain on purpose. Those
// of a headless Service lead nowhere: its callers choose the port.
func (s Service) pastEnvoy(p ir.Proxy, pod *corev1.Pod, plain []uint16) []PastPort {
	if s.Headless {
		return nil
	}
	var ports []PastPort
	for _, port := range s.Ports {
		target, _ := port.target(pod)
		if past, ok := PastEnvoy(p, port.Port, target); ok && !slices.Contains(plain, target) {
			ports = append(ports, past)
		}
	}
	return ports
}
