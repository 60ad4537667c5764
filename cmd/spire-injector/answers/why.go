package answers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// why says why pods are not injected, or why new ones would be denied: the one place with these words.
func (m *Mesh) why(g *Group) Reason {
	w := g.Of
	switch {
	case g.State != Injected && !m.serves(w.Namespace):
		found := fmt.Sprintf("%s is excluded (by the webhooks' namespaceSelector); the label does nothing there", w.Namespace)
		if g.State == NotAsked {
			found = fmt.Sprintf("%s; namespace %s", m.notAsked(g).Found, found)
		}
		return Reason{
			Found: found,
			Remedy: "move it to another namespace, or have the platform team take " + w.Namespace +
				" out of the excluded ones",
		}
	case g.State == NotInjected && g.decided != "":
		return m.missed(g)
	case len(g.Mistakes) > 0:
		return m.denied(g)
	case g.State == NotAsked:
		return m.notAsked(g)
	}
	return w.onItself()
}

// onItself is about annotations of the object that were meant for its pods.
func (w *Workload) onItself() Reason {
	keys := w.misplaced()
	if len(keys) == 0 {
		return Reason{}
	}
	return Reason{
		Found: fmt.Sprintf("%s has %s on itself, where %s", w.Object, strings.Join(keys, ", "),
			agreeVerb(len(keys), "it does nothing", "they do nothing")),
		Remedy: "move " + agreeVerb(len(keys), "it", "them") + " to " + w.metadata() + ".annotations",
	}
}

// notAsked is about pods that no label asks for. One that stands where it does nothing is what was meant.
func (m *Mesh) notAsked(g *Group) Reason {
	w, ns := g.Of, m.namespace(g.Of.Namespace)
	switch {
	case g.decided == reason.MirrorPod:
		return Reason{
			Found:  fmt.Sprintf("%s mirrors a static pod, which its node runs from a file", g.oneOfThem()),
			Remedy: "run it by a DaemonSet or a Deployment: what admission makes of a mirror changes nothing of the file",
		}
	case g.decided == reason.PodDisabled:
		return Reason{
			Found:  fmt.Sprintf("%s has the label %s: %s", g.oneOfThem(), intent.LabelInject, intent.InjectDisabled),
			Remedy: fmt.Sprintf("write %s: %s into the labels of %s", intent.LabelInject, intent.InjectEnabled, w.labelled()),
		}
	case ns.Labels[intent.LabelInject] == intent.InjectDisabled:
		return Reason{
			Found: fmt.Sprintf("%s has no label %s, and that of namespace %s is %s",
				g.oneOfThem(), intent.LabelInject, ns.Name, intent.InjectDisabled),
			Remedy: fmt.Sprintf("write %s: %s into the labels of %s", intent.LabelInject, intent.InjectEnabled, w.labelled()),
		}
	}
	found := fmt.Sprintf("neither %s nor namespace %s has the label %s", g.oneOfThem(), ns.Name, intent.LabelInject)
	remedy := fmt.Sprintf("write %s: %s into the labels of %s", intent.LabelInject, intent.InjectEnabled, w.labelled())
	if t := w.Template; t != nil && t.Kind != "Pod" {
		_, onObject := t.Labels[intent.LabelInject]
		_, onTemplate := t.Pod.Labels[intent.LabelInject]
		switch {
		case onTemplate && len(g.Pods) > 0:
			found += fmt.Sprintf("; the template of %s has it since", w.Object)
			remedy = w.restart()
		case onObject:
			found += fmt.Sprintf("; %s has it on itself, where it does nothing", w.Object)
			remedy = "move it to " + w.labels()
		}
	}
	if _, annotated := g.Asked.Annotations[intent.LabelInject]; annotated {
		found += fmt.Sprintf("; %s has it among its annotations, where it does nothing", g.oneOfThem())
		remedy = "move it to " + w.labels()
	}
	if more := w.onItself(); more != (Reason{}) {
		found, remedy = found+"; "+more.Found, remedy+", and "+more.Remedy
	}
	return Reason{Found: found, Remedy: remedy}
}

// missed is about pods that run without a sidecar in spite of their labels.
func (m *Mesh) missed(g *Group) Reason {
	label := fmt.Sprintf("%s has the label %s", g.oneOfThem(), intent.LabelInject)
	when := "it was created while the webhook was not asked"
	if g.decided == reason.NamespaceEnabled || g.decided == reason.NamespaceRequired {
		label = fmt.Sprintf("namespace %s has the label %s: %s", g.Of.Namespace, intent.LabelInject,
			m.namespace(g.Of.Namespace).Labels[intent.LabelInject])
		when = "it was created before the label, or while the webhook was not asked"
	}
	found := label + ", and the pod has no sidecar: " + when
	if len(g.Mistakes) > 0 {
		return Reason{Found: found + "; a new one is denied: " + g.mistakes(), Remedy: m.mend(g) + ", then " + g.Of.restart()}
	}
	return Reason{Found: found, Remedy: g.Of.restart()}
}

// denied is about mistakes. A running pod goes on with them.
func (m *Mesh) denied(g *Group) Reason {
	found := g.mistakes()
	if n := len(g.Pods); n > 0 {
		found += fmt.Sprintf("; %s on, the next one is denied", agree(n, "pod runs", "pods run"))
	}
	return Reason{Found: found, Remedy: m.mend(g)}
}

// mostMistakes bounds what is told of one workload.
const mostMistakes = 5

// mistakes are those of a group, for a sentence.
func (g *Group) mistakes() string {
	var texts []string
	for _, mistake := range g.Mistakes[:min(len(g.Mistakes), mostMistakes)] {
		texts = append(texts, mistake.String())
	}
	text := strings.Join(texts, "; ")
	if more := len(g.Mistakes) - len(texts); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// mend is where mistakes are.
func (m *Mesh) mend(g *Group) string {
	of := "of namespace " + g.Of.Namespace
	inNamespace := func(m intent.Mistake) bool { return strings.Contains(m.Where, of) }
	remedy := "mend it in " + g.Of.metadata()
	switch {
	case !slices.ContainsFunc(g.Mistakes, inNamespace):
		return remedy
	case slices.ContainsFunc(g.Mistakes, func(m intent.Mistake) bool { return !inNamespace(m) }):
		return remedy + ", and on Namespace " + g.Of.Namespace
	}
	return "mend it on Namespace " + g.Of.Namespace
}

// misplaced are our annotations on the object itself, where they do nothing.
func (w *Workload) misplaced() []string {
	t := w.Template
	if t == nil || t.Kind == "Pod" {
		return nil
	}
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(t.Annotations)) {
		if _, onTemplate := t.Pod.Annotations[key]; !onTemplate && slices.Contains(intent.WrittenByUsers(), key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// oneOfThem names a pod of the group, or the template that makes them.
func (g *Group) oneOfThem() string {
	if len(g.Pods) > 0 {
		return "Pod " + g.Of.Namespace + "/" + g.Pods[0].Name
	}
	if g.Of.Kind == "Pod" {
		return g.Of.String()
	}
	return "the template of " + g.Of.String()
}

// metadata is the field with the labels and annotations that pods of the workload get.
func (w *Workload) metadata() string {
	switch w.Kind {
	case "Pod":
		return "metadata"
	case "CronJob":
		return "spec.jobTemplate.spec.template.metadata"
	case "PodTemplate":
		return "template.metadata"
	}
	return "spec.template.metadata"
}

func (w *Workload) labels() string { return w.metadata() + ".labels" }

// labelled names what has the labels.
func (w *Workload) labelled() string {
	if w.Kind == "Pod" {
		return w.String()
	}
	return fmt.Sprintf("the pod template of %s (%s)", w.Object, w.labels())
}

// restart has the workload make new pods.
func (w *Workload) restart() string {
	switch w.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return fmt.Sprintf("kubectl -n %s rollout restart %s %s", w.Namespace, strings.ToLower(w.Kind), w.Name)
	}
	return fmt.Sprintf("make it anew: delete its pods, and what makes them makes others, or apply %s again", w.Object)
}
