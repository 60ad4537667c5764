package answers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// short is an ID as annotations are written: in the own trust domain its path.
func (m *Mesh) short(id spiffeid.ID) string { return m.shortText(id.String()) }

func (m *Mesh) shortText(id string) string {
	if m.Platform == nil {
		return id
	}
	if path, ok := strings.CutPrefix(id, m.Platform.Cluster.TrustDomain.IDString()+"/"); ok {
		return "/" + path
	}
	return id
}

// peers are the items of a list, for a sentence.
func (m *Mesh) peers(list []ir.Peer) string {
	if len(list) == 0 {
		return "nobody"
	}
	var texts []string
	for _, p := range list[:min(len(list), mostNames)] {
		texts = append(texts, m.shortText(p.String()))
	}
	text := strings.Join(texts, ", ")
	if more := len(list) - mostNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// isSomebody says whether a workload has an identity that a peer stands for.
func (m *Mesh) isSomebody(p ir.Peer) bool { return len(m.whoIs(p)) > 0 }

// whoIs are the workloads with an identity that a peer stands for.
func (m *Mesh) whoIs(p ir.Peer) []*Workload {
	if !p.IsPrefix() {
		return m.byID[p.String()]
	}
	key := p.String()
	found, known := m.below[key]
	if known {
		return found
	}
	for _, w := range m.Workloads {
		if slices.ContainsFunc(w.Groups, func(g *Group) bool { return p.Matches(g.ID) }) {
			found = append(found, w)
		}
	}
	m.below[key] = found
	return found
}
