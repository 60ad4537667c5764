package answers

import (
	"fmt"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

// Registered is what SPIRE's server says of registration entries.
type Registered struct {
	// Has says whether there is an entry of ours with an ID.
	Has func(entryID string) bool
	// Placed says whether the agent of a node is authorized for such an entry. Known is false where the node is not.
	Placed func(entryID, node string) (placed, known bool)
	// Err is why SPIRE did not answer. Then nothing else is set.
	Err error
}

// notAsked ends what is said of an entry where SPIRE was not asked for it.
const notAsked = "; SPIRE itself was not asked (--spire asks it)"

// entries say whether the entries of a group's pods are in SPIRE and on the pods' nodes: of the first pod for which
// something is wrong, or of all.
func (m *Mesh) entries(g *Group) []Step {
	status := inject.StatusOf(g.Pods[0].Pod)
	if len(status.EntryIDs) == 0 {
		return nil
	}
	if m.SPIRE == nil || m.SPIRE.Err != nil {
		found := "registered at admission as " + someOf(status.EntryIDs)
		s := Step{Check: checkEntry, Status: OK}
		if status.Deferred {
			s.Status = Note
			found = "to be registered as " + someOf(status.EntryIDs) + ": SPIRE did not answer at admission, so that it came later, or has not"
		}
		if m.SPIRE == nil {
			s.Found = found + notAsked
			return []Step{s}
		}
		s.Found = found
		return []Step{s, {Check: checkEntry, Status: Unknown, Reason: Reason{Found: "SPIRE did not answer: " + oneLine(m.SPIRE.Err)}}}
	}
	pods, unknown := 0, ""
	for _, pod := range g.Pods {
		if pod.ended() {
			continue
		}
		for _, id := range inject.StatusOf(pod.Pod).EntryIDs {
			switch r, known := m.entry(pod, id); {
			case r.Found != "":
				return []Step{{Check: checkEntry, Status: Fails, Reason: r}}
			case !known && unknown == "":
				unknown = fmt.Sprintf("%s is in SPIRE; whether it is on the node of %s is not known: %s", id, pod.Name, nodeText(pod))
			}
		}
		pods++
	}
	if unknown != "" {
		return []Step{{Check: checkEntry, Status: Unknown, Reason: Reason{Found: unknown}}}
	}
	return []Step{{Check: checkEntry, Status: OK, Reason: Reason{
		Found: fmt.Sprintf("in SPIRE as %s, and on the %s", someOf(status.EntryIDs), agree(pods, "pod's node", "pods' nodes")),
	}}}
}

// entry says what is wrong with an entry of a pod's, and whether all of that is known.
func (m *Mesh) entry(pod Pod, id string) (r Reason, known bool) {
	if !m.SPIRE.Has(id) {
		return Reason{
			Found:  fmt.Sprintf("SPIRE has no entry %s, which %s needs", id, pod.Name),
			Remedy: "the leading replica registers it: look at its log and at the events of " + pod.key() + " for what SPIRE says of it",
		}, true
	}
	node := pod.Spec.NodeName
	placed, known := m.SPIRE.Placed(id, node)
	if node == "" || !known || placed {
		return Reason{}, node != "" && known
	}
	return Reason{
		Found: fmt.Sprintf("SPIRE has the entry %s, but does not let the agent of %s have it, where %s runs", id, node, pod.Name),
		Remedy: "the leading replica places it: look at its log for what SPIRE says of the rows of that node, and whether the node's UID has " +
			"changed",
	}, true
}

func nodeText(pod Pod) string {
	if pod.Spec.NodeName == "" {
		return "it has none yet"
	}
	return "node " + pod.Spec.NodeName + " could not be read"
}
