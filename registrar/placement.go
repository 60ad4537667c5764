package registrar

import (
	"iter"
	"maps"
)

// placement is that an identity is needed on a node.
type placement struct {
	identity string // its IdentityHash; none is no placement
	node     string // its name; that of all nodes is empty
}

// placementOf is where owners with these needs have to have their identity.
func (c Cluster) placementOf(n Needs) placement {
	switch {
	case c.Scope == ScopeCluster:
		return placement{identity: n.Identity}
	case n.Node == "":
		return placement{} // it is parked until its node is known
	}
	return placement{n.Identity, n.Node}
}

// row is the entry that a placement leads to; none while the UID of its node is not known.
func (c Cluster) row(p placement, nodes nodes) (row Entry, ok bool) {
	if c.Scope == ScopeCluster {
		return c.ClusterRow(p.identity), p.identity != ""
	}
	uid, known := nodes.uids[p.node]
	return c.NodeRow(p.identity, uid), known
}

// rowFor is the row that a placement leads to. What says that there is none has it removed.
func (d *Demand) rowFor(p placement) (row Entry, ok bool) { return d.cluster.row(p, d.nodes) }

// row is what is wanted under the entry ID of a row.
func (d *Demand) row(entryID string) (Wanted, bool) {
	p, ok := d.placementOf(entryID)
	owners := d.placements.of(p)
	if !ok || len(owners) == 0 {
		return Wanted{}, false
	}
	row, ok := d.rowFor(p)
	return Wanted{Entry: &row, Owners: firstOf(maps.Keys(owners))}, ok && row.ID == entryID
}

// placementOf is the one that leads to a row.
func (d *Demand) placementOf(entryID string) (placement, bool) {
	identity, uid, ok := d.cluster.rowOf(entryID)
	if !ok || uid == "" {
		return placement{identity: identity}, ok
	}
	name, ok := d.nodes.names[uid]
	return placement{identity, name}, ok
}

// place moves an owner, and returns the IDs of rows that are wanted otherwise than before.
func (d *Demand) place(o Owner, before, after placement) (changed []string) {
	if before == after {
		return nil
	}
	var otherwise []placement
	if d.placements.add(after, o) {
		otherwise = append(otherwise, after)
	}
	if d.placements.remove(before, o) {
		otherwise = append(otherwise, before)
	}
	for _, p := range otherwise {
		if row, ok := d.rowFor(p); ok {
			changed = append(changed, row.ID)
		}
	}
	return changed
}

// SetNode says which UID the node of a name has; none when it is gone. It returns the IDs of rows that are wanted
// otherwise than before.
func (d *Demand) SetNode(name, uid string) (changed []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nodes.uids[name] == uid {
		return nil
	}
	rows := func() {
		for identity := range d.placements.onNode[name] {
			if row, ok := d.rowFor(placement{identity, name}); ok {
				changed = append(changed, row.ID)
			}
		}
	}
	rows()
	d.nodes.set(name, uid)
	rows()
	return changed
}

// HasNode says whether there is a node of this UID.
func (d *Demand) HasNode(uid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, there := d.nodes.names[uid]
	return there
}

// RowsOf returns the IDs of the rows that an identity, given by its [IdentityHash], needs.
func (d *Demand) RowsOf(identity string) (entryIDs []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for node := range d.placements.byIdentity[identity] {
		if row, ok := d.rowFor(placement{identity, node}); ok {
			entryIDs = append(entryIDs, row.ID)
		}
	}
	return entryIDs
}

// Placements is how many rows are wanted, counting those of nodes that are not known yet.
func (d *Demand) Placements() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.placements.len()
}

// nodes are those of the cluster, both ways.
type nodes struct {
	uids  map[string]string // by name
	names map[string]string // by UID
}

func newNodes() nodes { return nodes{uids: map[string]string{}, names: map[string]string{}} }

func (n nodes) set(name, uid string) {
	delete(n.names, n.uids[name])
	delete(n.uids, name)
	if uid != "" {
		n.uids[name], n.names[uid] = uid, name
	}
}

// placements are which owners need an identity where.
type placements struct {
	byIdentity map[string]map[string]map[Owner]struct{} // by the name of the node
	onNode     counts[string]                           // identities, by the name of the node
	n          int
}

func newPlacements() placements {
	return placements{byIdentity: map[string]map[string]map[Owner]struct{}{}, onNode: counts[string]{}}
}

func (p *placements) of(at placement) map[Owner]struct{} { return p.byIdentity[at.identity][at.node] }

func (p *placements) len() int { return p.n }

// add says whether the owner is the first one there.
func (p *placements) add(at placement, o Owner) (first bool) {
	if at.identity == "" {
		return false
	}
	nodes := p.byIdentity[at.identity]
	if nodes == nil {
		nodes = map[string]map[Owner]struct{}{}
		p.byIdentity[at.identity] = nodes
	}
	if first = nodes[at.node] == nil; first {
		nodes[at.node] = map[Owner]struct{}{}
		p.onNode.add(at.node, at.identity, 1)
		p.n++
	}
	nodes[at.node][o] = struct{}{}
	return first
}

// remove says whether the owner was the last one there.
func (p *placements) remove(at placement, o Owner) (last bool) {
	owners := p.of(at)
	if at.identity == "" || owners == nil {
		return false
	}
	if delete(owners, o); len(owners) > 0 {
		return false
	}
	if delete(p.byIdentity[at.identity], at.node); len(p.byIdentity[at.identity]) == 0 {
		delete(p.byIdentity, at.identity)
	}
	p.onNode.add(at.node, at.identity, -1)
	p.n--
	return true
}

func (p *placements) all() iter.Seq2[placement, map[Owner]struct{}] {
	return func(yield func(placement, map[Owner]struct{}) bool) {
		for identity, nodes := range p.byIdentity {
			for node, owners := range nodes {
				if !yield(placement{identity, node}, owners) {
					return
				}
			}
		}
	}
}

// counts are how many times something is there, by group; what is there no more is forgotten.
type counts[T comparable] map[string]map[T]int

func (c counts[T]) add(group string, what T, n int) {
	in := c[group]
	if in == nil {
		in = map[T]int{}
		c[group] = in
	}
	if in[what] += n; in[what] == 0 {
		delete(in, what)
	}
	if len(in) == 0 {
		delete(c, group)
	}
}
