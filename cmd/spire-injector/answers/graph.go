package answers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Graph is who may call whom.
type Graph struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
	// Gaps are what could not be read, and what that leaves open.
	Gaps []string `json:"gaps,omitempty"`

	trustDomain string
	compared    bool // it has the edges alone that a change adds or cuts
}

// Node is a workload, a Service without workloads, or a place outside the cluster.
type Node struct {
	// ID is "KIND NAMESPACE/NAME", or the host outside.
	ID        string   `json:"id"`
	Namespace string   `json:"namespace,omitempty"`
	State     State    `json:"state,omitempty"` // of a workload
	SPIFFEIDs []string `json:"spiffeIDs,omitempty"`
	// LetsIn are the items of its lists that nobody else's upstream goes with: below a path, or of nobody here.
	LetsIn []Item `json:"letsIn,omitempty"`
	// Why says what is wrong with it, whomever it calls; nil if nothing is.
	Why *Reason `json:"why,omitempty"`
}

// Item is one item of a list of peers.
type Item struct {
	Peer      string `json:"peer"`
	Port      uint16 `json:"port"`
	WrittenIn string `json:"writtenIn"`
	Workloads int    `json:"workloads"` // with such an identity
}

// Agreement says whether both sides of an edge say the same.
type Agreement string

// What two sides can say.
const (
	Agrees   Agreement = "agrees"
	Mismatch Agreement = "mismatch"
	Unclear  Agreement = "unknown" // what is known does not say it
	Outside  Agreement = "outside" // the other side is no workload of the mesh
	// Unused is of a caller that is let in, and has no upstream there.
	Unused Agreement = "unused"
)

// Edge is a caller and whom it calls, or may call.
type Edge struct {
	From      string    `json:"from"`
	To        string    `json:"to"`
	Agreement Agreement `json:"agreement"`
	Address   string    `json:"address,omitempty"` // of the upstream
	Listen    uint16    `json:"listen,omitempty"`  // where its app speaks to it
	Name      string    `json:"name,omitempty"`    // by which its app calls it there; 127.0.0.1 without one
	Port      uint16    `json:"port,omitempty"`    // of the other side
	// Check is the one that fails or that nobody knows the result of, with the reason.
	Check string `json:"check,omitempty"`
	Reason
	// Change is what a change does to it, and Used whether that was called lately.
	Change Change `json:"change,omitempty"`
	Used   string `json:"used,omitempty"`

	namespaces [2]string
	story      []Step
}

// Selection is a part of a graph. Empty fields select everything.
type Selection struct {
	From, To  string // KIND/NAME, NAMESPACE/NAME or NAMESPACE/KIND/NAME
	Namespace string // of either side
}

// Graph draws who may call whom.
func (m *Mesh) Graph(s Selection) (Graph, error) {
	return m.graphOf(s, m.edges(s.From != "" || s.To != ""))
}

// graphOf has those of some edges that are selected, and their nodes.
func (m *Mesh) graphOf(s Selection, edges []Edge) (Graph, error) {
	g := Graph{Nodes: []Node{}, Edges: []Edge{}, Gaps: m.Gaps()}
	if m.Platform == nil {
		return g, fmt.Errorf("who may call whom is not known without the platform file: %w; name a copy of it with --config",
			m.Unread[SourcePlatform])
	}
	g.trustDomain = m.Platform.Cluster.TrustDomain.IDString()
	from, err := m.endOf(s.From, s.Namespace)
	if err != nil {
		return g, fmt.Errorf("--from: %w", err)
	}
	to, err := m.endOf(s.To, s.Namespace)
	if err != nil {
		return g, fmt.Errorf("--to: %w", err)
	}
	seen := map[string]bool{}
	for _, e := range edges {
		if from != nil && e.From != from.String() || to != nil && e.To != to.String() ||
			s.Namespace != "" && !slices.Contains(e.namespaces[:], s.Namespace) {
			continue
		}
		g.Edges = append(g.Edges, e)
		seen[e.From], seen[e.To] = true, true
	}
	for _, w := range m.Workloads {
		wanted := from == nil && to == nil && (s.Namespace == "" || w.Namespace == s.Namespace)
		n := m.node(w)
		if (from != nil || to != nil) && w != to {
			n.LetsIn = nil
		}
		if wanted && m.isInMesh(w) || seen[n.ID] || w == from || w == to {
			g.Nodes = append(g.Nodes, n)
			delete(seen, n.ID)
		}
	}
	for _, e := range g.Edges {
		for i, id := range []string{e.From, e.To} {
			if seen[id] {
				g.Nodes = append(g.Nodes, Node{ID: id, Namespace: e.namespaces[i]})
				delete(seen, id)
			}
		}
	}
	return g, nil
}

// endOf is the workload that one end of all edges is to be; nil for any.
func (m *Mesh) endOf(name, namespace string) (*Workload, error) {
	if name == "" {
		return nil, nil
	}
	found, err := m.Find(name, namespace)
	if err != nil {
		return nil, err
	}
	if found.Workload == nil {
		return nil, fmt.Errorf("expected a workload or a pod, got %s", found.Service)
	}
	return found.Workload, nil
}

// isInMesh says whether a workload has, or asked for, an identity.
func (m *Mesh) isInMesh(w *Workload) bool {
	return slices.ContainsFunc(w.Groups, func(g *Group) bool { return g.State != NotAsked || m.meant(g) })
}

// node is a workload.
func (m *Mesh) node(w *Workload) Node {
	n := Node{ID: w.String(), Namespace: w.Namespace}
	for _, g := range w.Groups {
		if n.State == "" || g.State == Injected {
			n.State = g.told()
		}
		if id := g.ID.String(); !g.ID.IsZero() && !slices.Contains(n.SPIFFEIDs, id) {
			n.SPIFFEIDs = append(n.SPIFFEIDs, id)
		}
		if g.Why != (Reason{}) && n.Why == nil && (g.State != NotAsked || m.meant(g)) {
			n.Why = &g.Why
		}
		if !g.serves() {
			continue
		}
		for i, in := range g.Intent.Proxy.Inbound {
			for _, p := range in.Callers() {
				item := Item{
					Peer:      p.String(),
					Port:      in.Listen,
					WrittenIn: g.Intent.Origins.Peers(i).Of(w.Namespace),
					Workloads: len(m.whoIs(p)),
				}
				if (p.IsPrefix() || item.Workloads == 0) && !slices.Contains(n.LetsIn, item) {
					n.LetsIn = append(n.LetsIn, item)
				}
			}
		}
	}
	return n
}

// serves says whether the group's Envoys do what its intent says.
func (g *Group) serves() bool { return g.State == Injected && g.Known && g.Intent.Mode.Envoy() }

// edges are those of all upstreams, and those of callers that are let in and have no upstream: where a list names them,
// and with wildcards also where it lets in everybody below a path.
func (m *Mesh) edges(wildcards bool) []Edge {
	var edges []Edge
	seen := map[string]bool{}
	add := func(e Edge) {
		key := fmt.Sprint(e.way(), e.Agreement, e.Check, e.Reason)
		if !seen[key] {
			seen[key] = true
			edges = append(edges, e)
		}
	}
	called := map[string]bool{} // also what of another port, or may have been meant, is not unused
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			if !g.serves() {
				continue
			}
			for i, up := range g.Intent.Proxy.Upstreams {
				for _, e := range m.edgesOf(g, i, up) {
					add(e)
					called[e.From+" → "+e.To] = true
					if e.Check == checkAddress {
						called[e.From+" → "+e.namespaces[1]] = true
					}
				}
			}
		}
	}
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			if !g.serves() {
				continue
			}
			for _, e := range m.admitted(g, wildcards) {
				if !called[e.From+" → "+e.To] && !called[e.From+" → "+e.namespaces[1]] {
					add(e)
				}
			}
		}
	}
	slices.SortStableFunc(edges, func(a, b Edge) int {
		return cmp.Or(
			strings.Compare(a.namespaces[0], b.namespaces[0]),
			strings.Compare(a.From, b.From),
			cmp.Compare(a.Listen, b.Listen),
			strings.Compare(a.To, b.To),
		)
	})
	return edges
}

// edgesOf are those of one upstream: one for each workload that its address leads to.
func (m *Mesh) edgesOf(g *Group, index int, up ir.Upstream) []Edge {
	e := Edge{From: g.Of.String(), Address: up.Address.String(), Listen: up.Listen, Name: up.Name.String(), namespaces: [2]string{g.Of.Namespace}}
	if up.Server.External {
		e.To, e.Agreement = e.Address, Outside
		e.Found = fmt.Sprintf("outside the mesh: its server has a certificate of %s for %s", up.Server.CA, up.Server.Name)
		return []Edge{e}
	}
	d := m.leadsTo(up.Address, g.Of.Namespace)
	if len(d.backends) == 0 {
		e.To, e.Agreement, e.Check, e.Reason = up.Address.Host(), Mismatch, checkAddress, d.why
		if d.service != (Object{}) {
			e.To, e.namespaces[1] = d.service.String(), d.service.Namespace
		}
		if d.unknown {
			e.Agreement = Unclear
		}
		return []Edge{e}
	}
	var edges []Edge
	for _, b := range d.backends {
		one := e
		one.To, one.Port, one.namespaces[1] = b.group.Of.String(), b.port, b.group.Of.Namespace
		one.Agreement = Agrees
		one.story = (call{mesh: m, from: g, up: up, index: index, service: d.service, to: b}).steps()
		for _, s := range one.story {
			switch {
			case s.Check == checkEndpoints: // who may call does not depend on who answers at the moment
			case s.Status == Fails:
				one.Agreement, one.Check, one.Reason = Mismatch, s.Check, s.Reason
			case s.Check == checkRequest:
				one.Found = s.Found
			case s.Status == Note: // let in, though not in the list
				one.Reason = s.Reason
			case s.Status == Unknown:
				one.Agreement, one.Check, one.Reason = Unclear, s.Check, s.Reason
			}
			if one.Agreement != Agrees {
				break
			}
		}
		edges = append(edges, one)
	}
	return edges
}

// admitted are the edges from workloads that a group's lists let in.
func (m *Mesh) admitted(g *Group, wildcards bool) []Edge {
	var edges []Edge
	for _, in := range g.Intent.Proxy.Inbound {
		for _, p := range in.Callers() {
			if p.IsPrefix() && !wildcards {
				continue
			}
			for _, w := range m.whoIs(p) {
				if w == g.Of {
					continue
				}
				edges = append(edges, Edge{
					From:       w.String(),
					To:         g.Of.String(),
					Agreement:  Unused,
					Port:       in.Listen,
					Reason:     Reason{Found: "let in by " + m.shortText(p.String()) + ", without an upstream"},
					namespaces: [2]string{w.Namespace, g.Of.Namespace},
				})
			}
		}
	}
	return edges
}

// Mismatches counts the edges whose sides disagree, and the workloads that would be denied.
func (g Graph) Mismatches() int {
	n := 0
	for _, e := range g.Edges {
		if e.Agreement == Mismatch {
			n++
		}
	}
	for _, node := range g.Nodes {
		if node.State == Denied {
			n++
		}
	}
	return n
}
