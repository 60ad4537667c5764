package answers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Change says of an edge what a change of manifests or lists does to it.
type Change string

// What a change can do.
const (
	Added Change = "added" // a call that passes, and did not
	Gone  Change = "cut"   // a call that passed, and does not
)

// Removal is an item that is taken from the lists of a workload.
type Removal struct{ Workload, Peer string }

// ParseRemoval reads WORKLOAD:ITEM, such as shop/api:/ns/x/*.
func ParseRemoval(s string) (Removal, error) {
	workload, peer, ok := strings.Cut(s, ":")
	if !ok || workload == "" || !strings.HasPrefix(peer, "/") && !strings.HasPrefix(peer, "spiffe://") {
		return Removal{}, fmt.Errorf("expected WORKLOAD:ITEM such as 'shop/api:/ns/x/*', got %q", s)
	}
	return Removal{workload, peer}, nil
}

// With are the facts after manifests were applied: what they have takes the place of what has its name, and of its pods.
func (f Facts) With(more Facts) Facts {
	replaced := map[Object]bool{}
	for _, t := range more.Templates {
		replaced[t.Object] = true
	}
	controllers := map[Object]Object{}
	for _, t := range f.Templates {
		if t.Controller != (Object{}) {
			controllers[t.Object] = t.Controller
		}
	}
	f.Templates = slices.Concat(
		slices.DeleteFunc(slices.Clone(f.Templates), func(t Template) bool { return replaced[t.Object] }), more.Templates)
	f.Pods = slices.DeleteFunc(slices.Clone(f.Pods), func(p Pod) bool { return replaced[workloadOf(p.Pod, controllers)] })
	f.Services = slices.Concat(slices.DeleteFunc(slices.Clone(f.Services), func(s corev1.Service) bool {
		return slices.ContainsFunc(more.Services, func(m corev1.Service) bool { return m.Namespace == s.Namespace && m.Name == s.Name })
	}), more.Services)
	f.Namespaces = maps.Clone(f.Namespaces)
	for name, ns := range more.Namespaces {
		if before, ok := f.Namespaces[name]; ok && ns.Labels[corev1.LabelMetadataName] == "" { // which the API server writes
			ns.Labels = maps.Clone(ns.Labels)
			if ns.Labels == nil {
				ns.Labels = map[string]string{}
			}
			ns.Labels[corev1.LabelMetadataName] = before.Labels[corev1.LabelMetadataName]
		}
		if f.Namespaces == nil {
			f.Namespaces = more.Namespaces
		}
		f.Namespaces[name] = ns
	}
	return f
}

// Remove takes items from lists.
func (m *Mesh) Remove(all []Removal, namespace string) error {
	for _, r := range all {
		w, err := m.endOf(r.Workload, namespace)
		if err != nil {
			return err
		}
		removed := false
		is := func(p ir.Peer) bool { return p.String() == r.Peer || m.shortText(p.String()) == r.Peer }
		for _, g := range w.Groups {
			g.Intent.Proxy.Inbound = slices.Clone(g.Intent.Proxy.Inbound)
			for i := range g.Intent.Proxy.Inbound {
				in := &g.Intent.Proxy.Inbound[i]
				before := len(in.Peers) + len(in.Rules)
				in.Peers = slices.DeleteFunc(slices.Clone(in.Peers), is)
				in.Rules = slices.DeleteFunc(slices.Clone(in.Rules), func(rule ir.Rule) bool { return is(rule.Peer) })
				removed = removed || len(in.Peers)+len(in.Rules) < before
			}
		}
		if !removed {
			return fmt.Errorf("%s has no item %s in its lists: %s", w, r.Peer, m.itemsOf(w))
		}
	}
	return nil
}

// itemsOf are the items of a workload's lists.
func (m *Mesh) itemsOf(w *Workload) string {
	var all []ir.Peer
	for _, g := range w.Groups {
		for _, in := range g.Intent.Proxy.Inbound {
			all = append(all, in.Callers()...)
		}
	}
	return m.peers(all)
}

// passes says whether calls of an edge pass, or would if somebody made them.
func (e Edge) passes() bool {
	return e.Agreement == Agrees || e.Agreement == Unused || e.Agreement == Outside
}

// way is by whom, to whom and how an edge leads.
func (e Edge) way() [3]string {
	return [3]string{e.From, e.To, fmt.Sprint(e.Listen, e.Port, e.Address)}
}

// Difference draws the calls that pass after a change and did not before, or the other way round.
func (m *Mesh) Difference(before *Mesh, s Selection) (Graph, error) {
	passed := map[[3]string]Edge{}
	for _, e := range before.edges(true) {
		if e.passes() {
			passed[e.way()] = e
		}
	}
	var edges []Edge
	for _, e := range m.edges(true) {
		was, did := passed[e.way()]
		delete(passed, e.way())
		switch {
		case e.passes() && !did:
			e.Change = Added
		case !e.passes() && did:
			e.Change, e.Used = Gone, before.used(was)
		default:
			continue
		}
		edges = append(edges, e)
	}
	for _, e := range before.edges(true) {
		if was, cut := passed[e.way()]; cut {
			was.Change, was.Used = Gone, before.used(was)
			delete(passed, e.way())
			edges = append(edges, was)
		}
	}
	g, err := m.graphOf(s, edges)
	g.compared = true
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n Node) bool {
		return n.State != Denied && !slices.ContainsFunc(g.Edges, func(e Edge) bool { return e.From == n.ID || e.To == n.ID })
	})
	return g, err
}

// used says how often a call was made lately, by the callee's log; empty where that is not known.
func (m *Mesh) used(e Edge) string {
	from, to := m.named(e.From), m.named(e.To)
	if from == nil || to == nil {
		return ""
	}
	var pods []Pod
	for _, g := range to.Groups {
		pods = append(pods, m.witnesses(g)...)
	}
	logs, names := m.logsOf(pods)
	if len(logs) == 0 {
		return ""
	}
	for _, s := range mergedSeen(logs...) {
		mine := func(g *Group) bool { return g.ID.String() == s.Peer }
		if (s.Kind == Passed || s.Kind == Audited) && slices.ContainsFunc(from.Groups, mine) {
			return fmt.Sprintf("used: %s, %s", agree(s.Count, "call", "calls"), m.when(s))
		}
	}
	return "not used; log " + m.reachText(logs, names)
}

// named is the workload that a node stands for; nil if it is none.
func (m *Mesh) named(id string) *Workload {
	for _, w := range m.Workloads {
		if w.String() == id {
			return w
		}
	}
	return nil
}

// Callees are the pods whose logs say whether calls were made that a change cuts.
func (m *Mesh) Callees(g Graph) []Pod {
	var out []Pod
	seen := map[string]bool{}
	for _, e := range g.Edges {
		if w := m.named(e.To); e.Change == Gone && w != nil && !seen[e.To] && len(out) < mostAsked {
			seen[e.To] = true
			out = append(out, m.PodsOf("", w.Namespace+"/"+w.Kind+"/"+w.Name)...)
		}
	}
	return out
}
