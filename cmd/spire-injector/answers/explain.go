package answers

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Explanation is what is known of a workload, or of a call, as ordered checks.
type Explanation struct {
	Subject string `json:"subject"`
	// Passes says whether nothing of it fails, as far as is known. That somebody's call to it fails does not count.
	Passes bool   `json:"passes"`
	Steps  []Step `json:"steps"`
	// Gaps are what could not be read, and what that leaves open.
	Gaps []string `json:"gaps,omitempty"`
}

func (m *Mesh) explanation(subject string, steps []Step) Explanation {
	fails := func(s Step) bool { return s.Status == Fails && !s.OfCaller }
	return Explanation{Subject: subject, Passes: !slices.ContainsFunc(steps, fails), Steps: steps, Gaps: m.Gaps()}
}

// ExplainCall says whether a call from one workload to another, or to a Service, would pass.
func (m *Mesh) ExplainCall(from, to, namespace string, r Request) (Explanation, error) {
	caller, err := m.Find(from, namespace)
	if err != nil {
		return Explanation{}, fmt.Errorf("the caller: %w", err)
	}
	if caller.Workload == nil {
		return Explanation{}, fmt.Errorf("the caller: expected a pod or a workload, got %s", caller.Service)
	}
	callee, err := m.Find(to, cmp.Or(namespace, caller.Workload.Namespace))
	if err != nil && namespace == "" {
		callee, err = m.Find(to, "")
	}
	if err != nil {
		return Explanation{}, fmt.Errorf("the callee: %w", err)
	}
	subject := fmt.Sprintf("%s → %s", caller.object(), callee.object())
	if !r.isZero() {
		subject += fmt.Sprintf(": %s %s", r.Method, r.Path)
	}
	g := caller.Group
	if g == nil {
		g = caller.Workload.main()
	}
	steps := []Step{m.party(checkCaller, g)}
	if callee.Workload != nil {
		steps = append(steps, m.party(checkCallee, cmp.Or(callee.Group, callee.Workload.main())))
	}
	if g.serves() {
		path := m.path(g, callee, r)
		if last := len(steps) - 1; last > 0 && steps[last].Status == Fails { // which says why nobody of ours listens there
			path = slices.DeleteFunc(path, func(s Step) bool { return s.Check == checkPort })
		}
		steps = append(steps, path...)
		steps = append(steps, m.svidsOfCall(g, callee)...)
		if to := callee.Group; to != nil || callee.Workload != nil {
			steps = append(steps, m.seenBetween(g, cmp.Or(to, callee.Workload.main()), m.listenTo(g, callee))...)
		}
	}
	return m.explanation(subject, steps), nil
}

// main is the group of most pods of a workload.
func (w *Workload) main() *Group { return w.Groups[0] }

// party says who one side of a call is.
func (m *Mesh) party(check string, g *Group) Step {
	s := Step{Check: check}
	switch {
	case g.State == Injected && !g.Known:
		s.Status, s.Found = Unknown, fmt.Sprintf("%s is %s; what it lets in and calls is not known", g.Of, m.short(g.ID))
	case g.State == Injected && !g.Intent.Mode.Envoy():
		s.Status, s.Found = Unknown, fmt.Sprintf("%s is %s, in mode %s: it has no Envoy, its app does TLS itself", g.Of,
			m.short(g.ID), g.Mode)
	case g.State == Injected:
		s.Found = fmt.Sprintf("%s is %s (%s)", g.Of, m.short(g.ID), g.Intent.Origins.ID.Of(g.Of.Namespace))
		s.Status = OK
	case m.Platform == nil && g.State == NotAsked:
		s.Status, s.Reason = Fails, g.Why
	default:
		s.Status = Fails
		s.Found, s.Remedy = fmt.Sprintf("%s is %s: %s", g.Of, g.State.text(), g.Why.Found), g.Why.Remedy
	}
	return s
}

// path are the checks from the caller's upstream on. The upstream of which most is right is the one that is explained.
func (m *Mesh) path(g *Group, callee Found, r Request) []Step {
	var best []Step
	for i, up := range g.Intent.Proxy.Upstreams {
		if up.Server.External {
			continue
		}
		d := m.leadsTo(up.Address, g.Of.Namespace)
		if !m.meansTo(d, callee) {
			continue
		}
		first := Step{Check: checkUpstream, Status: OK, Reason: Reason{Found: upstreamText(g, i, up)}}
		if len(d.backends) == 0 {
			status := Fails
			if d.unknown {
				status = Unknown
			}
			best = better(best, []Step{first, {Check: checkAddress, Status: status, Reason: d.why}})
			continue
		}
		for _, b := range d.backends {
			if callee.Workload != nil && b.group.Of != callee.Workload || callee.Group != nil && b.group != callee.Group {
				continue
			}
			c := call{mesh: m, from: g, up: up, index: i, service: d.service, to: b, request: r}
			best = better(best, append([]Step{first}, c.steps()...))
		}
	}
	if best != nil {
		return best
	}
	return []Step{{Check: checkUpstream, Status: Fails, Reason: m.noUpstream(g, callee)}}
}

// meansTo says whether an address was meant to lead to a callee: it does, or its Service is one of the callee's, or is
// called nearly so.
func (m *Mesh) meansTo(d destination, callee Found) bool {
	if callee.Service != nil {
		return d.service == *callee.Service
	}
	for _, b := range d.backends {
		if b.group.Of == callee.Workload {
			return true
		}
	}
	if d.service == (Object{}) || len(d.backends) > 0 || d.service.Namespace != callee.Workload.Namespace {
		return false
	}
	s := m.services[d.service.Short()]
	if s == nil {
		var names []string
		for _, of := range m.servicesOf(callee.Workload) {
			names = append(names, of.Name)
		}
		return intent.Nearest(d.service.Name, names...) != ""
	}
	return slices.ContainsFunc(m.selected(s), func(g *Group) bool { return g.Of == callee.Workload })
}

// servicesOf are the Services that lead to a workload, by namespace and name.
func (m *Mesh) servicesOf(w *Workload) []Object {
	var all []Object
	for i := range m.Services {
		s := &m.Services[i]
		if s.Namespace == w.Namespace && slices.ContainsFunc(m.selected(s), func(g *Group) bool { return g.Of == w }) {
			all = append(all, Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name})
		}
	}
	slices.SortFunc(all, Object.compare)
	return all
}

// better is the path on which a call comes farther.
func better(a, b []Step) []Step {
	far := func(steps []Step) int {
		n := slices.IndexFunc(steps, func(s Step) bool { return s.Status == Fails })
		if n < 0 {
			return len(steps) + 100
		}
		return n
	}
	if a == nil || far(b) > far(a) {
		return b
	}
	return a
}

// upstreamText says where the app has to call.
func upstreamText(g *Group, i int, up ir.Upstream) string {
	where := fmt.Sprintf("%s[%d]", g.Intent.Origins.Upstreams.Of(g.Of.Namespace), i)
	if up.Listen == 0 {
		return fmt.Sprintf("requests for %s go to %s (%s)", up.Match, up.Address, where)
	}
	return fmt.Sprintf("the app calls %s, Envoy %s (%s)", up.Called(), up.Address, where)
}

// noUpstream is about a caller that has no upstream to a callee.
func (m *Mesh) noUpstream(g *Group, callee Found) Reason {
	if callee.Service != nil {
		return Reason{
			Found: fmt.Sprintf("%s has no upstream to %s", g.Of, callee.Service),
			Remedy: fmt.Sprintf("write an item of %s in %s of %s: {listen: 8000, address: \"%s.%s.svc:8443\", peers: […]}",
				intent.AnnotationUpstreams, g.Of.metadata()+".annotations", g.Of, callee.Service.Name, callee.Service.Namespace),
		}
	}
	to := cmp.Or(callee.Group, callee.Workload.main())
	if to.serves() && len(to.Intent.Proxy.Inbound) == 0 {
		return takesNoCalls(to)
	}
	r := Reason{Found: fmt.Sprintf("%s has no upstream to %s", g.Of, callee.Workload)}
	services := m.servicesOf(callee.Workload)
	if len(services) == 0 {
		r.Found += ", to which no Service leads"
		r.Remedy = "create a Service that selects its pods, with ports: [{name: mtls, port: 8443}]"
		return r
	}
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.Name
	}
	r.Found += "; Services there: " + strings.Join(names[:min(len(names), mostNames)], ", ")
	port, peers := "8443", "…"
	if s := m.services[services[0].Short()]; s != nil {
		for _, p := range s.Spec.Ports {
			if slices.Contains(m.listensBehind(s), numberOf(p)) {
				port = fmt.Sprint(p.Port)
			}
		}
	}
	if !to.ID.IsZero() {
		peers = m.short(to.ID)
	}
	r.Remedy = fmt.Sprintf("write an item of %s in %s of %s: {listen: %d, address: \"%s.%s.svc:%s\", peers: [%s]}",
		intent.AnnotationUpstreams, g.Of.metadata()+".annotations", g.Of, freePort(g), services[0].Name, services[0].Namespace, port, peers)
	return r
}

// takesNoCalls is about a callee without listeners.
func takesNoCalls(g *Group) Reason {
	return Reason{
		Found: fmt.Sprintf("%s takes no calls: it has neither app-port nor inbound", g.Of),
		Remedy: fmt.Sprintf("write %s and %s in %s.annotations of %s", intent.AnnotationAppPort, intent.AnnotationAllowedPeers,
			g.Of.metadata(), g.Of),
	}
}

// freePort is one on which no upstream of a group listens.
func freePort(g *Group) uint16 {
	port := uint16(8000)
	for slices.ContainsFunc(g.Intent.Proxy.Upstreams, func(up ir.Upstream) bool { return up.Name.IsZero() && up.Listen == port }) {
		port++
	}
	return port
}

// WriteJSON writes the explanation as one JSON object.
func (e Explanation) WriteJSON(w io.Writer) error { return writeJSON(w, e) }

// WriteText writes a line for each check, and below the first that fails its remedy.
func (e Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, e.Subject)
	width := 0
	for _, s := range e.Steps {
		width = max(width, len(s.Check))
	}
	told := false
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", s.Status, width, s.Check, s.Found)
		if s.Remedy != "" && (!told || s.Status != Fails) {
			fmt.Fprintf(&b, "%-7s  %*s  %s\n", "", width, "remedy", s.Remedy)
		}
		told = told || s.Status == Fails
	}
	if len(e.Gaps) > 0 {
		fmt.Fprintln(&b)
	}
	for _, gap := range e.Gaps {
		fmt.Fprintln(&b, gap)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
