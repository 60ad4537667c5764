package intent

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// unusedMistakes are annotations of the pod that change nothing, or that say what another one says.
func (r *reader) unusedMistakes() []Mistake {
	if !r.Mode.Envoy() {
		return nil
	}
	has := func(key string) bool { _, ok := r.written[key]; return ok }
	var mistakes []Mistake
	if has(AnnotationAppPort) && has(AnnotationInbound) {
		mistakes = append(mistakes, Mistake{
			Where: "annotation " + AnnotationInbound,
			What:  "says the same as " + AnnotationAppPort + ", only one of them is possible",
			Hint:  "remove " + AnnotationAppPort,
		})
	}
	// A namespace's default peers are of use to those of its pods that have a port.
	if !r.written[AnnotationAllowedPeers].onPod {
		return mistakes
	}
	where := "annotation " + AnnotationAllowedPeers
	hasDefaultPeers := func(l listener) bool { return l.defaultPeers }
	switch {
	case !has(AnnotationAppPort) && !has(AnnotationInbound) && !r.Proxy.Captured:
		mistakes = append(mistakes, Mistake{
			Where: where,
			What:  "has no effect without an inbound listener",
			Hint:  "add " + AnnotationAppPort + " with the port on which the app listens, or remove it",
		})
	case len(r.inbound) > 0 && !slices.ContainsFunc(r.inbound, hasDefaultPeers):
		mistakes = append(mistakes, Mistake{
			Where: where,
			What: "has no effect: every listener of " + AnnotationInbound +
				" has peers of its own, no TLS or clientCertificate: none",
			Hint: "remove it",
		})
	}
	return mistakes
}

// modelMistakes are the rules of the model that the proxy breaks, in the words of what the user wrote, each once.
func (r *reader) modelMistakes() []Mistake {
	if !r.Mode.Envoy() {
		return nil
	}
	var mistakes []Mistake
	seen := map[Mistake]bool{}
	for _, p := range r.Proxy.Validate() {
		if r.unclear && missesAnnotation(p.Code) || r.modeUnclear && slices.Contains(rulesOfMode, p.Code) || r.isUnread(p) {
			continue
		}
		if m, tell := r.mistakeOf(p); tell && !seen[m] {
			mistakes, seen[m] = append(mistakes, m), true
		}
	}
	return mistakes
}

// isUnread says whether a value is missed that is written, and told to be wrong.
func (r *reader) isUnread(p ir.Problem) bool {
	if !p.Code.MissesValue() {
		return false
	}
	if p.Path == "" {
		return len(r.Proxy.Inbound) == 0 && r.told.about(modelInbound) ||
			len(r.Proxy.Upstreams) == 0 && r.told.about(modelUpstreams)
	}
	if item, isPeers := strings.CutSuffix(p.Path, ".peers"); isPeers &&
		(r.told.about(item+".tls") || r.told.about(item+".clientCertificate")) {
		return true // whether callers present certificates is not known
	}
	return r.told.about(p.Path)
}

// missesAnnotation says whether a rule may be broken because an annotation is there under a wrong name.
func missesAnnotation(code ir.Code) bool {
	return code == ir.NothingToDo || code == ir.GatewayIncomplete
}

// rulesOfMode depend on whether the pod is a gateway.
var rulesOfMode = []ir.Code{
	ir.NothingToDo, ir.GatewayIncomplete, ir.ListenMissing, ir.AppMissing, ir.AppOfGateway, ir.TCPRoutes,
	ir.ListenOfGateway, ir.MatchMissing, ir.MatchNoGateway,
}

// hintFor is what to do in the words of the annotations, where the rule's text does not say it.
func (r *reader) hintFor(code ir.Code) string {
	switch code {
	case ir.NothingToDo:
		hint := fmt.Sprintf("write %s, %s or both", AnnotationAppPort, AnnotationUpstreams)
		if r.Proxy.Captured {
			hint += ", or the ports of the app into ports of its container"
		}
		if r.Mode.Socket {
			hint += fmt.Sprintf(", or %s: %s for the Workload API alone", AnnotationMode, ModeSocket)
		}
		if r.Mode.Files {
			hint += fmt.Sprintf(", or %s: %s for files alone", AnnotationMode, ModeFiles)
		}
		return hint
	case ir.GatewayIncomplete:
		return fmt.Sprintf("write %s and %s", AnnotationInbound, AnnotationUpstreams)
	case ir.AppIsSidecar:
		if r.Proxy.Captured {
			return "or leave listen out: callers call the app's own port, which is captured"
		}
		return ""
	case ir.MatchNoGateway:
		return "or add " + AnnotationMode + ": gateway"
	case ir.RequestAudited, ir.ForwardedAudited:
		return fmt.Sprintf("peers are audited by %s: %s", AnnotationEnforcement, enforcementAudit)
	default:
		return ""
	}
}

// modelPath is an item of a list of the model, and the field in it.
var modelPath = regexp.MustCompile(`^(inbound|upstreams|appPorts|probes)\[(\d+)\](.*)$`)

// mistakeOf says where the user wrote what breaks a rule. It is false for what is told of another annotation.
func (r *reader) mistakeOf(p ir.Problem) (Mistake, bool) {
	m := Mistake{Where: "Envoy's configuration", What: p.String(), Hint: r.hintFor(p.Code)}
	if p.Path == "" {
		m.Where = "annotations"
		return m, true
	}
	if p.Code == ir.MemoryTooSmall {
		return r.memoryMistake(p), true
	}
	parts := modelPath.FindStringSubmatch(p.Path)
	if parts == nil {
		return m, true
	}
	i, err := strconv.Atoi(parts[2])
	if err != nil {
		return m, true
	}
	m.What = p.Text
	switch list, field := parts[1], parts[3]; list {
	case "inbound":
		return r.inboundMistake(m, p.Code, i, field)
	case "upstreams":
		m.Where = r.written[AnnotationUpstreams].where(AnnotationUpstreams, fmt.Sprintf("[%d]%s", i, field))
	case "appPorts":
		m.Where = "container " + r.Proxy.AppPorts[i].Container + ", ports"
		return sidecarOfMesh(m), true
	case "probes":
		m.Where = r.askers[r.Proxy.Probes[i]]
		return sidecarOfMesh(m), true
	}
	return m, true
}

// freePort is one that nobody in the pod has, like the platform's.
func (r *reader) freePort() uint16 {
	port := r.platform.InboundPort
	taken := func(port uint16) bool {
		return slices.ContainsFunc(r.Proxy.AppPorts, func(a ir.AppPort) bool { return a.Port == port }) ||
			slices.ContainsFunc(r.Proxy.Upstreams, func(up ir.Upstream) bool { return up.Listen == port }) || ir.IsOwnPort(int(port))
	}
	for taken(port) || port == r.platform.InboundPort {
		if port += 1000; port < firstFreePort { // it began again
			port = port%1000 + firstFreePort
		}
	}
	return port
}

// firstFreePort is the least that [reader.freePort] proposes.
const firstFreePort = 1024

// inboundMistake is one in a listener, which may come from the short form, and its peers from allowed-peers.
func (r *reader) inboundMistake(m Mistake, code ir.Code, i int, field string) (Mistake, bool) {
	if code == ir.PeersMissing && r.inbound[i].defaultPeers {
		m.Where, m.What = "annotation "+AnnotationAllowedPeers, "expected at least one peer that may call, got none"
		m.Hint = `an example: "/web, /ns/prod/*"`
		if l := r.inbound[i]; l.declaredBy != "" {
			m.What += fmt.Sprintf(", for port %d of container %s, which is captured", l.App, l.declaredBy)
			m.Hint += fmt.Sprintf(`; or add a listener for the port to %s: "- {app: %d, peers: [/web]}", or {app: %d, tls: none} for plain text`,
				AnnotationInbound, l.App, l.App)
		}
		if r.Proxy.Inbound[i].Clients == ir.Request {
			m.Hint += "; or clientCertificate: none, where nobody presents one"
		}
		return m, !r.unclear && !r.told.about(modelAllowedPeers)
	}
	m.Where = r.whereInbound(i, field)
	if !r.short || r.inbound[i].declaredBy != "" {
		return m, true
	}
	switch {
	case code == ir.AppOfGateway:
		m.Hint = "write its listeners in " + AnnotationInbound
	case code == ir.PortTaken && field == ".listen":
		m.What, _, _ = strings.Cut(m.What, ";")
		m.What += fmt.Sprintf(", and is the platform's inboundPort, where Envoy would listen for %s", AnnotationAppPort)
		m.Hint = fmt.Sprintf("write instead %s: [{listen: %d, app: %d}], and let the Service lead there; or %s: %s", AnnotationInbound,
			r.freePort(), r.Proxy.Inbound[i].App, AnnotationCapture, "inbound")
	}
	return m, true
}

// whereInbound is where a listener was written: in the long form, in the short one, or as a port of a captured pod.
func (r *reader) whereInbound(i int, field string) string {
	switch l := r.inbound[i]; {
	case l.declaredBy != "":
		return "container " + l.declaredBy + ", ports"
	case r.short:
		return r.written[AnnotationAppPort].where(AnnotationAppPort, "")
	}
	return r.written[AnnotationInbound].where(AnnotationInbound, fmt.Sprintf("[%d]%s", i, field))
}
