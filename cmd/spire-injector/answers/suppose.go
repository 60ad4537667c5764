package answers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Supposition is a value that the label inject of a Namespace does not have, or not yet.
type Supposition struct{ Namespace, Value string }

// ParseSupposition reads NAMESPACE=VALUE.
func ParseSupposition(s string) (Supposition, error) {
	namespace, value, ok := strings.Cut(s, "=")
	values := []string{intent.InjectEnabled, intent.InjectRequired, intent.InjectDisabled}
	switch {
	case !ok || namespace == "":
		return Supposition{}, fmt.Errorf("expected NAMESPACE=VALUE such as legacy=%s, got %q", intent.InjectRequired, s)
	case !slices.Contains(values, value):
		hint := ""
		if near := intent.Nearest(value, values...); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return Supposition{}, fmt.Errorf("expected %s, got %q%s", strings.Join(values, ", "), value, hint)
	}
	return Supposition{namespace, value}, nil
}

// Suppose says what would become of the next pods of a namespace's workloads with other labels, and of who calls them.
func (m *Mesh) Suppose(all []Supposition) ([]Finding, error) {
	f := m.Facts
	for _, s := range all {
		if err := f.Usable(s.Namespace); err != nil {
			return nil, fmt.Errorf("--if: %w", err)
		}
	}
	if f.Platform == nil {
		return nil, fmt.Errorf("what would be injected is not known without the platform file: %w", f.Unread[SourcePlatform])
	}
	running := map[Object][]*Group{}
	for _, w := range m.Workloads {
		running[w.Object] = w.Groups
	}
	before := newMesh(f.nextPods(), running)
	f.Namespaces = maps.Clone(f.Namespaces)
	for _, s := range all {
		ns := f.Namespaces[s.Namespace]
		ns.Labels = maps.Clone(ns.Labels)
		if ns.Labels == nil {
			ns.Labels = map[string]string{}
		}
		ns.Labels[intent.LabelInject] = s.Value
		f.Namespaces[s.Namespace] = ns
	}
	after := newMesh(f.nextPods(), running)
	var out []Finding
	for _, s := range all {
		found := after.supposed(before, s)
		if len(found) == 0 {
			found = []Finding{{Severity: Fine, Where: "Namespace " + s.Namespace, Found: fmt.Sprintf("nothing changes for %s of namespace %s",
				agree(len(after.inNamespace(s.Namespace)), "workload", "workloads"), s.Namespace)}}
		}
		for i := range found {
			found[i].Check = fmt.Sprintf("if %s=%s", s.Namespace, s.Value)
			if found[i].Severity != Fine {
				found[i].Expected = "workloads that go on as they are"
			}
		}
		out = append(out, found...)
	}
	return out, nil
}

// nextPods are the facts when all pods have been made anew: of templates, and of pods without one of what they say.
func (f Facts) nextPods() Facts {
	made := map[Object]bool{}
	controllers := map[Object]Object{}
	for _, t := range f.Templates {
		if t.Controller == (Object{}) {
			made[t.Object] = true
		} else {
			controllers[t.Object] = t.Controller
		}
	}
	templates := slices.Clone(f.Templates)
	for _, pod := range f.Pods {
		o := workloadOf(pod.Pod, controllers)
		if made[o] || pod.ended() {
			continue
		}
		made[o] = true
		templates = append(templates, Template{Object: o, Pod: inject.Original(pod.Pod), Wanted: 1})
	}
	f.Templates, f.Pods, f.Slices, f.Live = templates, nil, nil, false
	return f
}

// supposed compares the workloads of a namespace with what they were.
func (m *Mesh) supposed(before *Mesh, s Supposition) []Finding {
	was := map[Object]*Group{}
	for _, w := range before.inNamespace(s.Namespace) {
		was[w.Object] = w.main()
	}
	var out []Finding
	for _, w := range m.inNamespace(s.Namespace) {
		g, old := w.main(), was[w.Object]
		switch {
		case g.State == Denied && (old == nil || old.State != Denied):
			out = append(out, w.finding(Broken, Reason{Found: "its next pods would be denied: " + g.mistakes(), Remedy: m.mend(g)}))
		case g.State == Denied:
			out = append(out, w.finding(Broken, Reason{Found: "its next pods are denied today too: " + g.mistakes(), Remedy: m.mend(g)}))
		case g.State == Injected && old != nil && old.State != Injected:
			out = append(out, w.finding(Warning, m.becomesInjected(g)))
		case g.State != Injected && old != nil && old.State == Injected:
			out = append(out, w.finding(Warning, Reason{
				Found:  fmt.Sprintf("its next pods would not be injected: they lose the identity %s", m.short(old.ID)),
				Remedy: fmt.Sprintf("write %s: %s into the labels of %s", intent.LabelInject, intent.InjectEnabled, w.labelled()),
			}))
		}
	}
	return append(out, m.brokenCalls(before, s)...)
}

// becomesInjected is about a workload whose pods get a sidecar. Who calls its app goes on past it, if the app's address
// stays.
func (m *Mesh) becomesInjected(g *Group) Reason {
	r := Reason{Found: fmt.Sprintf("its next pods would be injected, in mode %s, as %s", g.Mode, m.short(g.ID))}
	if !g.Intent.Mode.Envoy() {
		return r
	}
	if len(g.Intent.Proxy.Inbound) == 0 {
		r.Found += ", without a port for callers"
		r.Remedy = fmt.Sprintf("if it is called, write %s and %s in %s.annotations of %s", intent.AnnotationAppPort,
			intent.AnnotationAllowedPeers, g.Of.metadata(), g.Of)
		return r
	}
	for _, in := range g.Intent.Proxy.Inbound {
		if in.TLS == ir.Mutual {
			r.Found += fmt.Sprintf("; %d lets in %s", in.Listen, m.peers(in.Callers()))
		}
	}
	r.Remedy = "have its callers injected too, and its Service lead there, before its app listens on 127.0.0.1 alone"
	return r
}

// brokenCalls are the upstreams that would begin to disagree.
func (m *Mesh) brokenCalls(before *Mesh, s Supposition) []Finding {
	known := map[[2]string]Agreement{}
	for _, e := range before.edges(false) {
		known[[2]string{e.From, e.To}] = e.Agreement
	}
	var out []Finding
	for _, e := range m.edges(false) {
		if e.Agreement == Mismatch && slices.Contains(e.namespaces[:], s.Namespace) && known[[2]string{e.From, e.To}] != Mismatch {
			out = append(out, Finding{Severity: Broken, Where: e.From + " → " + e.To, Found: "would fail: " + e.Found, Remedy: e.Remedy})
		}
	}
	return out
}
