package answers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// findUninjected finds what asked for injection and is without, and what was meant to ask.
func (m *Mesh) findUninjected() []Finding {
	var out []Finding
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			switch {
			case g.State == NotInjected:
				r := g.Why
				if n := len(g.Pods); n > 1 {
					r.Found += "; " + agree(n, "such pod runs", "such pods run")
				}
				out = append(out, w.finding(Broken, r))
			case g.State == NotAsked && m.meant(g):
				out = append(out, w.finding(Warning, g.Why))
			case g.State == Injected && g.Why != (Reason{}) && len(g.Mistakes) == 0: // annotations that do nothing
				out = append(out, w.finding(Warning, g.Why))
			}
		}
	}
	return out
}

// findNamespaces finds mistakes on Namespaces, which count for each pod that is made there.
func (m *Mesh) findNamespaces() []Finding {
	var out []Finding
	for _, name := range slices.Sorted(maps.Keys(m.Namespaces)) {
		ns := m.Namespaces[name]
		if !isWritten(ns) || !m.serves(name) {
			continue
		}
		injected := 0
		mistakes := m.namespaceMistakes(ns)
		for _, w := range m.inNamespace(name) {
			for _, g := range w.Groups {
				if g.State == Injected {
					injected += len(g.Pods)
				}
			}
		}
		for _, mistake := range mistakes {
			text := mistake.String()
			if injected > 0 {
				text += "; " + agree(injected, "pod runs", "pods run") + " on, the next one is denied"
			}
			out = append(out, Finding{
				Severity: Broken,
				Where:    "Namespace " + name,
				Found:    text,
				Remedy:   "mend it on Namespace " + name,
			})
		}
	}
	return out
}

// isWritten says whether a Namespace says anything about injection.
func isWritten(ns intent.Namespace) bool {
	_, labelled := ns.Labels[intent.LabelInject]
	return labelled || len(ours(ns.Annotations)) > 0
}

// namespaceMistakes are those of a Namespace's own. Its annotations are judged by the pods that take them, and where
// there are none by a pod that says nothing itself.
func (m *Mesh) namespaceMistakes(ns intent.Namespace) []intent.Mistake {
	var mistakes []intent.Mistake
	add := func(more []intent.Mistake) {
		for _, mistake := range more {
			if ofNamespace(mistake, ns.Name) && !slices.Contains(mistakes, mistake) {
				mistakes = append(mistakes, mistake)
			}
		}
	}
	bare := &corev1.Pod{}
	bare.Namespace, bare.Labels = ns.Name, map[string]string{intent.LabelInject: intent.InjectEnabled}
	bare.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
	var refusal *intent.Refusal
	if _, err := intent.Decide(ns, bare); errors.As(err, &refusal) {
		add(refusal.Mistakes)
	}
	asking := false
	for _, w := range m.inNamespace(ns.Name) {
		for _, g := range slices.Concat(w.Groups, m.nextOf(w)) {
			asking = asking || g.Known
			add(g.Mistakes)
		}
	}
	if !asking && m.Platform != nil {
		_, found := intent.ParseIntent(*m.Platform, ns, bare)
		add(found)
	}
	return mistakes
}

// ofNamespace says whether a mistake was made on a Namespace.
func ofNamespace(m intent.Mistake, name string) bool {
	return strings.Contains(m.Where, "of namespace "+name)
}

// nextOf is the group of the pods that a workload makes next; none where its template is not known.
func (m *Mesh) nextOf(w *Workload) []*Group {
	if w.Template == nil || m.next[w] != nil {
		return m.next[w]
	}
	g := w.Groups[0]
	if len(g.Pods) > 0 || g.State != Denied && g.State != Injected {
		g = m.fromTemplate(w)
	}
	m.next[w] = []*Group{g}
	return m.next[w]
}

// findDenied finds workloads whose next pod would be denied, for more than a mistake of their namespace.
func (m *Mesh) findDenied() []Finding {
	var out []Finding
	for _, w := range m.Workloads {
		groups := m.nextOf(w)
		if groups == nil { // nothing but the pods is known
			groups = slices.DeleteFunc(slices.Clone(w.Groups), func(g *Group) bool { return g.State != Injected })
		}
		for _, g := range groups {
			own := func(mistake intent.Mistake) bool { return !ofNamespace(mistake, w.Namespace) }
			if g.State == NotInjected || !slices.ContainsFunc(g.Mistakes, own) {
				continue
			}
			running := *g
			running.Pods = nil
			for _, of := range w.Groups {
				running.Pods = append(running.Pods, of.Pods...)
			}
			r := m.denied(&running)
			if len(running.Pods) == 0 {
				r.Found = "its pods are denied: " + r.Found
			}
			out = append(out, w.finding(Broken, r))
		}
	}
	return out
}

// findProxyImages finds pods that choose the program which gets their key and decides who is let in.
func (m *Mesh) findProxyImages() []Finding {
	if m.Platform == nil {
		return nil
	}
	locked := slices.Contains(m.Platform.Locked, strings.TrimPrefix(intent.AnnotationProxyImage, intent.Prefix))
	var who []string
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			if image := g.Asked.Annotations[intent.AnnotationProxyImage]; image != "" && g.State == Injected {
				who = append(who, fmt.Sprintf("%s (%s)", w.Short(), image))
				break
			}
		}
	}
	if locked {
		return nil
	}
	found := intent.AnnotationProxyImage + " is not locked: whoever writes a pod chooses the program that gets its key and decides who is let in"
	if len(who) > 0 {
		found += "; chosen by " + someOf(who)
	}
	return []Finding{{
		Severity: Warning,
		Where:    "the platform file",
		Found:    found,
		Remedy:   "add proxy-image to locked, once no pod writes it: a locked annotation is a mistake where it is written",
	}}
}

// someOf are the first of some names, and how many more there are.
func someOf(names []string) string {
	text := strings.Join(names[:min(len(names), mostNames)], ", ")
	if more := len(names) - mostNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
