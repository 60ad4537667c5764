package registrar

import (
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// A workload's entry is parked: its parent is an alias path of its identity's own, which no agent has. Rows place it. A
// row is what `spire-server entry create -node` makes, an entry below the server's own ID that gives the agents that
// its selectors match its SPIFFE ID, here that alias path, and with it the entries below. Several rows may have one
// SPIFFE ID, so that rows come and go for each node by themselves, and the workload's entry never changes for it.

// rowPrefix starts the last part of a row's entry ID; that of a workload's entry is a hash, which has no dash.
const rowPrefix = "row-"

// uidSelector is how k8s_psat names the node of an agent. Names of nodes are used again, UIDs are not.
const uidSelector = "agent_node_uid:"

// AliasPath is the SPIFFE ID that places an identity, given by its [IdentityHash]: the parent of its workloads'
// entries.
func (c Cluster) AliasPath(identity string) spiffeid.ID {
	return c.id(idPrefix, c.Name, "id", identity)
}

// NodeRow authorizes the agent of one node for an identity, given by its [IdentityHash]. It has the UID alone as a
// selector: with a second one that all nodes share, SPIRE's server looks at all rows for each agent.
func (c Cluster) NodeRow(identity, nodeUID string) Entry {
	return Entry{
		ID:        c.entryID(rowPrefix + identity + "-" + nodeUID),
		SPIFFEID:  c.AliasPath(identity),
		ParentID:  c.ServerID(),
		Selectors: []Selector{{Type: "k8s_psat", Value: uidSelector + nodeUID}},
	}
}

// ClusterRow authorizes the agents of all nodes for an identity, given by its [IdentityHash].
func (c Cluster) ClusterRow(identity string) Entry {
	return Entry{
		ID:        c.entryID(rowPrefix + identity),
		SPIFFEID:  c.AliasPath(identity),
		ParentID:  c.ServerID(),
		Selectors: c.NodeSelectors,
	}.Canonical()
}

// NodeAlias is one SPIFFE ID of all nodes of the cluster, below which an installation without rows has its workloads'
// entries. They are moved below their alias paths, and then it is removed.
func (c Cluster) NodeAlias() Entry {
	return Entry{
		ID:        c.entryID("node"),
		SPIFFEID:  c.aliasID(),
		ParentID:  c.ServerID(),
		Selectors: c.NodeSelectors,
	}.Canonical()
}

func (c Cluster) aliasID() spiffeid.ID { return c.id(idPrefix, c.Name, "node") }

// EntryKind is what an entry that SPIRE holds is to the injector of a cluster.
type EntryKind int

// The kinds of entries.
const (
	KindForeign EntryKind = iota // somebody else's
	KindWorkload
	KindRow
	KindNodeAlias
)

// KindOf says what an entry is. Ours has our prefix in its ID, and a parent or a SPIFFE ID of ours: both conditions,
// because an ID can be chosen by anybody and because one cluster's name can begin with another's.
func (c Cluster) KindOf(e Entry) EntryKind {
	last, named := c.cutPrefix(e.ID)
	switch {
	case !named || strings.Contains(last, "."):
		return KindForeign
	case last == "node":
		if c.isAlias(e.SPIFFEID) {
			return KindNodeAlias
		}
	case strings.HasPrefix(last, rowPrefix):
		if c.isServer(e.ParentID) && c.isAliasPath(e.SPIFFEID) {
			return KindRow
		}
	case c.isAlias(e.ParentID) || c.isAliasPath(e.ParentID):
		return KindWorkload
	}
	return KindForeign
}

// OnNode says whether SPIRE authorizes the agent of a node, given by its UID, for the entry of a workload: by a row of
// that node, or one of all nodes. All are SPIRE's entries by their IDs.
func (c Cluster) OnNode(all map[string]Entry, workload Entry, nodeUID string) bool {
	placing := []Entry{c.NodeAlias()}
	if !c.isAlias(workload.ParentID) {
		identity := strings.TrimPrefix(c.below(workload.ParentID), "/id/")
		placing = []Entry{c.NodeRow(identity, nodeUID), c.ClusterRow(identity)}
	}
	for _, row := range placing {
		if have, ok := all[row.ID]; ok && have.SPIFFEID == row.SPIFFEID && have.SPIFFEID == workload.ParentID {
			return true
		}
	}
	return false
}

// Owns says whether an entry that SPIRE holds is ours to change.
func (c Cluster) Owns(e Entry) bool { return c.KindOf(e) != KindForeign }

// Concerns says whether an entry is ours, or may stand in the way of one of ours, or hangs below one.
func (c Cluster) Concerns(e Entry) bool {
	_, named := c.cutPrefix(e.ID)
	return named || c.isAlias(e.ParentID) || c.isAliasPath(e.ParentID) || c.isAliasPath(e.SPIFFEID)
}

// What follows is asked of every entry that SPIRE holds, so it makes no IDs to compare with.

func (c Cluster) isServer(id spiffeid.ID) bool {
	return id.MemberOf(c.TrustDomain) && id.Path() == serverPath
}

func (c Cluster) isAlias(id spiffeid.ID) bool { return c.below(id) == "/node" }

func (c Cluster) isAliasPath(id spiffeid.ID) bool { return strings.HasPrefix(c.below(id), "/id/") }

// below is the rest of a path below the cluster's own; empty for others.
func (c Cluster) below(id spiffeid.ID) string {
	path, ours := strings.CutPrefix(id.Path(), "/"+idPrefix+"/")
	if !ours || !id.MemberOf(c.TrustDomain) {
		return ""
	}
	rest, ours := strings.CutPrefix(path, c.Name)
	if !ours {
		return ""
	}
	return rest
}

// cutPrefix is the last part of an entry ID that is named as ours are.
func (c Cluster) cutPrefix(entryID string) (last string, ours bool) {
	rest, ours := strings.CutPrefix(entryID, idPrefix+".")
	if !ours {
		return "", false
	}
	if rest, ours = strings.CutPrefix(rest, c.Name); !ours {
		return "", false
	}
	return strings.CutPrefix(rest, ".")
}

// rowOf reads the ID of a row; the UID is empty for one of all nodes.
func (c Cluster) rowOf(entryID string) (identity, nodeUID string, ok bool) {
	last, ok := c.cutPrefix(entryID)
	if !ok {
		return "", "", false
	}
	last, ok = strings.CutPrefix(last, rowPrefix)
	identity, nodeUID, _ = strings.Cut(last, "-")
	return identity, nodeUID, ok
}

func (c Cluster) entryID(last string) string { return idPrefix + "." + c.Name + "." + last }
