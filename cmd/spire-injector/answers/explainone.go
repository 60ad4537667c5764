package answers

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The checks of one workload, by their names; caller and callee have those of a call.
const (
	checkAsked     = "asked"
	checkInjected  = "injected"
	checkNext      = "next pod"
	checkIdentity  = "identity"
	checkReady     = "ready"
	checkSidecar   = "sidecar"
	checkListens   = "lets in"
	checkCalls     = "calls"
	checkCalledBy  = "called by"
	checkAnnotated = "annotations"
)

// Explain says what a workload, or the one of a pod or behind a Service, is: asked, injected, who it is, whom it lets in
// and calls, and where that was written.
func (m *Mesh) Explain(name, namespace string) (Explanation, error) {
	found, err := m.Find(name, namespace)
	if err != nil {
		return Explanation{}, err
	}
	if found.Service != nil {
		return m.explainService(found), nil
	}
	groups := found.Workload.Groups
	if found.Group != nil {
		groups = []*Group{found.Group}
	}
	var steps []Step
	for _, g := range groups {
		steps = append(steps, m.about(g)...)
	}
	return m.explanation(found.object().String(), steps), nil
}

// explainService says what is behind a Service.
func (m *Mesh) explainService(found Found) Explanation {
	s := found.service
	groups := m.selected(s)
	var steps []Step
	if len(groups) == 0 {
		status := Fails
		if len(s.Spec.Selector) == 0 {
			status = Unknown
		}
		steps = append(steps, Step{Check: checkEndpoints, Status: status, Reason: m.nothingBehind(s)})
	}
	for _, p := range s.Spec.Ports {
		steps = append(steps, m.servicePort(found, uint16(p.Port), target(p))) //nolint:gosec // the API server takes no others
	}
	for _, g := range groups {
		steps = append(steps, m.about(g)...)
	}
	return m.explanation(found.Service.String(), steps)
}

// servicePort says where a port of a Service leads.
func (m *Mesh) servicePort(found Found, port uint16, leads string) Step {
	step := Step{Check: checkPort, Status: OK}
	step.Found = fmt.Sprintf("%d → %s", port, leads)
	for _, b := range m.backends(found.service, port, "") {
		if !b.group.serves() {
			continue
		}
		p := b.group.Intent.Proxy
		past, isApp := intent.PastEnvoy(p, port, b.port)
		switch {
		case p.ServerOf(b.port) >= 0:
			step.Found += whereEnvoyServes(b)
		case isApp:
			step.Status = Note
			step.Found, step.Remedy = intent.PastEnvoyOf(b.group.Of.String(), []intent.PastPort{past})
		case len(p.Inbound) > 0:
			step.Status = Note
			step.Found += ", past the Envoy of " + b.group.Of.String() + ", which listens on " + join(m.listensBehind(found.service))
		}
		return step
	}
	return step
}

// about are the checks of the pods of a group.
func (m *Mesh) about(g *Group) []Step {
	var steps []Step
	add := func(check string, status Status, r Reason) {
		if r != (Reason{}) {
			steps = append(steps, Step{Check: check, Status: status, Reason: r})
		}
	}
	switch g.State {
	case NotAsked:
		status := Note // nobody wanted anything, and so nothing fails
		if m.meant(g) {
			status = Fails
		}
		add(checkAsked, status, g.Why)
		return steps
	case NotInjected:
		add(checkAsked, OK, Reason{Found: m.asked(g)})
		add(checkInjected, Fails, g.Why)
		return steps
	case Denied:
		add(checkAsked, OK, Reason{Found: m.asked(g)})
		add(checkInjected, Fails, Reason{Found: "denied: " + g.Why.Found, Remedy: g.Why.Remedy})
		return steps
	case Injected, ToBeInjected:
	}
	add(checkAsked, OK, Reason{Found: m.asked(g)})
	add(checkInjected, OK, Reason{Found: g.injectedText()})
	if len(g.Mistakes) > 0 {
		add(checkNext, Fails, g.Why)
	} else {
		add(checkAnnotated, Fails, g.Why)
	}
	id := m.short(g.ID)
	if g.Known {
		id += " (" + g.Intent.Origins.ID.Of(g.Of.Namespace) + ")"
	}
	add(checkIdentity, OK, Reason{Found: id})
	steps = append(steps, m.readiness(g)...)
	steps = append(steps, m.witnessed(g)...)
	if !g.Known {
		add(checkListens, Unknown, Reason{Found: "whom it lets in and calls is not known without the platform file"})
	}
	if !g.serves() {
		return steps
	}
	for i, in := range g.Intent.Proxy.Inbound {
		add(checkListens, OK, Reason{Found: m.lets(g, i, in)})
	}
	for i, up := range g.Intent.Proxy.Upstreams {
		for _, e := range m.edgesOf(g, i, up) {
			add(checkCalls, statusOf(e), Reason{Found: m.edgeText(upstreamText(g, i, up), e), Remedy: e.Remedy})
		}
	}
	if len(g.Intent.Proxy.Inbound) > 0 {
		for _, e := range m.edges(false) {
			if e.To == g.Of.String() && e.Agreement != Unused {
				add(checkCalledBy, statusOf(e), Reason{Found: m.edgeText(e.From+" by "+e.Address, e), Remedy: e.Remedy})
				steps[len(steps)-1].OfCaller = true
			}
		}
	}
	return steps
}

func statusOf(e Edge) Status {
	switch e.Agreement {
	case Mismatch:
		return Fails
	case Unclear:
		return Unknown
	case Agrees, Outside, Unused:
	}
	return OK
}

func (m *Mesh) edgeText(text string, e Edge) string {
	switch {
	case e.Found != "":
		return text + ": " + e.Found
	case e.Agreement == Agrees:
		return fmt.Sprintf("%s: %s", text, e.To)
	}
	return text
}

// asked says by which label injection was asked for.
func (m *Mesh) asked(g *Group) string {
	if value, ok := g.Asked.Labels[intent.LabelInject]; ok {
		return fmt.Sprintf("label %s: %s of %s", intent.LabelInject, value, g.oneOfThem())
	}
	ns := m.namespace(g.Of.Namespace)
	return fmt.Sprintf("label %s: %s of Namespace %s", intent.LabelInject, ns.Labels[intent.LabelInject], ns.Name)
}

func (g *Group) injectedText() string {
	if len(g.Pods) == 0 {
		return "its pods would be, in mode " + g.Mode
	}
	var versions []Count
	for _, pod := range g.Pods {
		versions = counted(versions, inject.StatusOf(pod.Pod).Version)
	}
	var by []string
	for _, v := range versions {
		by = append(by, v.Value)
	}
	pods := agree(len(g.Pods), "pod", "pods")
	if len(g.Of.Groups) > 1 {
		var names []string
		for _, pod := range g.Pods[:min(len(g.Pods), mostNames)] {
			names = append(names, pod.Name)
		}
		pods += " (" + strings.Join(names, ", ") + ")"
	}
	return fmt.Sprintf("%s, in mode %s, by version %s", pods, g.Mode, strings.Join(by, " and "))
}

// readiness says what runs, and with which sidecar.
func (m *Mesh) readiness(g *Group) []Step {
	if len(g.Pods) == 0 {
		if m.Live && g.Of.Template != nil && g.Of.Template.Wanted > 0 {
			return []Step{{Check: checkReady, Status: Fails, Reason: Reason{
				Found:  fmt.Sprintf("none of %s has been created", agree(int(g.Of.Template.Wanted), "pod", "pods")),
				Remedy: fmt.Sprintf("kubectl -n %s get events: who makes its pods says there why it cannot", g.Of.Namespace),
			}}}
		}
		return nil
	}
	var unready []string
	var images []Count
	waits := "" // for what
	for _, pod := range g.Pods {
		if !pod.ready() {
			unready = append(unready, pod.Name)
		}
		if pod.Status.Phase == corev1.PodPending {
			waits = cmp.Or(waits, m.agentOf(pod))
		}
		images = counted(images, pod.image())
	}
	ready := Step{Check: checkReady, Status: OK, Reason: Reason{Found: "all of them"}}
	if len(unready) > 0 {
		ready.Status = Fails
		ready.Found = fmt.Sprintf("%d of %s not ready: %s", len(unready), agree(len(g.Pods), "pod", "pods"),
			strings.Join(unready[:min(len(unready), mostNames)], ", "))
		ready.Remedy = fmt.Sprintf("kubectl -n %s describe pod %s", g.Of.Namespace, unready[0])
		if waits != "" {
			ready.Found, ready.Remedy = waits+"; "+ready.Found, bringBack
		}
	}
	steps := []Step{ready}
	for _, c := range images {
		s := Step{Check: checkSidecar, Status: OK, Reason: Reason{Found: c.Value}}
		if m.Platform != nil && c.Value != m.Platform.Sidecar.Image && g.Asked.Annotations[intent.AnnotationProxyImage] == "" {
			s.Status = Note
			s.Found = fmt.Sprintf("%s; the platform has %s", c.Value, m.Platform.Sidecar.Image)
			s.Remedy = g.Of.restart()
		}
		steps = append(steps, s)
	}
	return steps
}

// lets says whom a listener lets in, and where that was written.
func (m *Mesh) lets(g *Group, i int, in ir.Inbound) string {
	text := fmt.Sprintf("%d", in.Listen)
	if in.App != 0 {
		text += " → " + in.AppHost.With(in.App)
	}
	switch {
	case in.TLS == ir.None:
		return text + ": everybody, in plain text"
	case in.Clients == ir.NoRequest:
		return text + ": everybody, without a certificate"
	}
	var items []string
	for _, p := range in.Callers() {
		who := "nobody here"
		if is := m.whoIs(p); len(is) == 1 {
			who = is[0].String()
		} else if len(is) > 1 {
			who = fmt.Sprintf("%d workloads", len(is))
		}
		items = append(items, fmt.Sprintf("%s (%s)", m.shortText(p.String()), who))
	}
	if more := len(items) - mostNames; more > 0 {
		items = append(items[:mostNames:mostNames], fmt.Sprintf("%d more", more))
	}
	text += ": " + strings.Join(items, ", ")
	switch {
	case in.TLS == ir.Permissive:
		text += ", and everybody in plain text"
	case in.Clients == ir.Request:
		text += ", and everybody without a certificate"
	case in.Audit:
		text += ", and others of the trust domain, who are counted (enforcement: audit)"
	}
	return text + "; written in " + g.Intent.Origins.Peers(i).Of(g.Of.Namespace)
}
