package registrar

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Owner is an object of the Kubernetes API that needs identities: a pod, or what pods are made of, such as a
// Deployment.
type Owner struct {
	Kind      string
	Namespace string
	Name      string
}

// KindPod is the kind of owners that run.
const KindPod = "Pod"

func (o Owner) String() string { return strings.ToLower(o.Kind) + "/" + o.Namespace + "/" + o.Name }

func (o Owner) compare(p Owner) int {
	return cmp.Or(
		strings.Compare(o.Namespace, p.Namespace),
		strings.Compare(o.Kind, p.Kind),
		strings.Compare(o.Name, p.Name),
	)
}

// Needs is what one owner needs of SPIRE.
type Needs struct {
	Workloads []Workload
	// Identity is the [IdentityHash] of what the owner runs as, and Node the name of the node that it runs on, or will;
	// empty while nobody knows.
	Identity, Node string
	// Held are the IDs of entries that have to stay as they are, although nothing of the owner says any more that they
	// may be created: the owner runs with them.
	Held []string
	// Unconfirmed says that the owner was admitted without an answer of SPIRE: that it is there says nothing about its
	// entries.
	Unconfirmed bool
}

// Wanted is what all owners of one entry need together.
type Wanted struct {
	// Entry is the entry on which they converge; nil if it is only held.
	Entry *Entry
	// Owners are those that need it, in the order of namespace, kind and name, at most a few of them.
	Owners []Owner
}

// maxOwners bounds the owners that are named beside an entry: each may get a Kubernetes event.
const maxOwners = 3

// Demand is which entries have to be there, and for which owners. What it costs to change one owner does not depend on
// how many there are. It is safe for concurrent use.
type Demand struct {
	cluster Cluster

	mu          sync.Mutex
	byOwner     map[Owner]ownersClaims
	byEntry     map[string]map[variant]*claimants
	byNamespace counts[string] // IDs of entries
	placements  placements
	nodes       nodes
}

// variant distinguishes what owners ask for under one entry ID: owners are many, variants of an entry are few.
type variant string

// held is the variant of owners that do not say what the entry has to be.
const held variant = ""

type claim struct {
	entryID string
	variant variant
}

type ownersClaims struct {
	claims    []claim
	placement placement
	confirms  bool // a pod that was admitted when SPIRE had its entries
}

type claimants struct {
	entry  *Entry // nil for held
	owners map[Owner]struct{}
	// confirming is how many of them are pods that were admitted when SPIRE had the entry.
	confirming int
}

// NewDemand returns the demand of nobody.
func NewDemand(c Cluster) *Demand {
	return &Demand{
		cluster:     c,
		byOwner:     map[Owner]ownersClaims{},
		byEntry:     map[string]map[variant]*claimants{},
		byNamespace: counts[string]{},
		placements:  newPlacements(),
		nodes:       newNodes(),
	}
}

// Set replaces what an owner needs; no needs forget it. It returns the IDs of entries that are wanted otherwise than
// before, in order.
func (d *Demand) Set(o Owner, needs Needs) (changed []string) {
	var claims []claim
	entries := map[claim]*Entry{}
	for _, w := range needs.Workloads {
		e := d.cluster.WorkloadEntry(w)
		c := claim{e.ID, variantOf(e)}
		claims, entries[c] = append(claims, c), &e
	}
	for _, id := range needs.Held {
		claims = append(claims, claim{id, held})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.byOwner[o]
	after := ownersClaims{claims: claims, confirms: o.Kind == KindPod && !needs.Unconfirmed}
	if len(claims) > 0 {
		after.placement = d.cluster.placementOf(needs)
	}
	rows := d.place(o, before.placement, after.placement)
	if slices.Equal(before.claims, claims) && before.confirms == after.confirms {
		d.remember(o, after)
		return rows
	}
	affected := map[string]bool{}
	for _, c := range claims {
		affected[c.entryID] = d.add(o, c, entries[c], before, after) || affected[c.entryID]
	}
	for _, c := range before.claims {
		if !slices.Contains(claims, c) {
			affected[c.entryID] = d.remove(o, c, before) || affected[c.entryID]
		}
	}
	d.remember(o, after)
	maps.DeleteFunc(affected, func(_ string, otherwise bool) bool { return !otherwise })
	changed = slices.AppendSeq(rows, maps.Keys(affected))
	slices.Sort(changed)
	return changed
}

func (d *Demand) remember(o Owner, of ownersClaims) {
	d.byOwner[o] = of
	if len(of.claims) == 0 {
		delete(d.byOwner, o)
	}
}

func (d *Demand) add(o Owner, c claim, e *Entry, before, after ownersClaims) (otherwise bool) {
	variants := d.byEntry[c.entryID]
	if variants == nil {
		variants = map[variant]*claimants{}
		d.byEntry[c.entryID] = variants
	}
	all := variants[c.variant]
	if all == nil {
		all, otherwise = &claimants{entry: e, owners: map[Owner]struct{}{}}, true
		variants[c.variant] = all
	}
	if slices.Contains(before.claims, c) {
		all.count(before, -1)
	}
	all.count(after, 1)
	if _, known := all.owners[o]; !known {
		d.byNamespace.add(o.Namespace, c.entryID, 1)
	}
	all.owners[o] = struct{}{}
	return otherwise
}

func (d *Demand) remove(o Owner, c claim, before ownersClaims) (otherwise bool) {
	variants := d.byEntry[c.entryID]
	all := variants[c.variant]
	all.count(before, -1)
	delete(all.owners, o)
	d.byNamespace.add(o.Namespace, c.entryID, -1)
	if len(all.owners) > 0 {
		return false
	}
	if delete(variants, c.variant); len(variants) == 0 {
		delete(d.byEntry, c.entryID)
	}
	return true
}

func (c *claimants) count(of ownersClaims, n int) {
	if of.confirms {
		c.confirming += n
	}
}

// Confirmed says whether a pod runs that was admitted when SPIRE had the entry: then SPIRE need not be asked for the
// next one. Should it be gone since, the reconciler creates it again.
func (d *Demand) Confirmed(entryID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.byEntry[entryID] {
		if v.entry != nil && v.confirming > 0 {
			return true
		}
	}
	return false
}

// Of returns what is wanted under an entry ID; false if nobody needs it.
func (d *Demand) Of(entryID string) (Wanted, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if variants, ok := d.byEntry[entryID]; ok {
		return wantedBy(variants), true
	}
	return d.row(entryID)
}

// All returns everything that is wanted, by entry ID, as it is at one moment.
func (d *Demand) All() map[string]Wanted {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string]Wanted, len(d.byEntry)+d.placements.len())
	for id, variants := range d.byEntry {
		all[id] = wantedBy(variants)
	}
	for p, owners := range d.placements.all() {
		if row, ok := d.rowFor(p); ok {
			all[row.ID] = Wanted{Entry: &row, Owners: firstOf(maps.Keys(owners))}
		}
	}
	return all
}

// Len is how many workloads' entries are wanted.
func (d *Demand) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.byEntry)
}

// InNamespace returns the IDs of the entries that the owners of a namespace need.
func (d *Demand) InNamespace(namespace string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.byNamespace[namespace]))
}

// Pods is how many pods need any of these entries.
func (d *Demand) Pods(entryIDs iter.Seq[string]) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	pods := map[Owner]struct{}{}
	for id := range entryIDs {
		for _, owners := range d.ownersOf(id) {
			for o := range owners {
				if o.Kind == KindPod {
					pods[o] = struct{}{}
				}
			}
		}
	}
	return len(pods)
}

// ownersOf are all owners of an entry, in some sets.
func (d *Demand) ownersOf(entryID string) []map[Owner]struct{} {
	var all []map[Owner]struct{}
	for _, c := range d.byEntry[entryID] {
		all = append(all, c.owners)
	}
	if p, ok := d.placementOf(entryID); ok {
		all = append(all, d.placements.of(p))
	}
	return all
}

func wantedBy(variants map[variant]*claimants) Wanted {
	var w Wanted
	for _, v := range slices.Sorted(maps.Keys(variants)) {
		if e := variants[v].entry; e != nil && w.Entry == nil {
			w.Entry = new(*e)
		} else if e != nil {
			*w.Entry = w.Entry.Converge(*e)
		}
		w.Owners = append(w.Owners, firstOf(maps.Keys(variants[v].owners))...)
	}
	slices.SortFunc(w.Owners, Owner.compare)
	w.Owners = slices.Compact(w.Owners)
	w.Owners = w.Owners[:min(len(w.Owners), maxOwners)]
	return w
}

// firstOf takes any few.
func firstOf(owners iter.Seq[Owner]) []Owner {
	var few []Owner
	for o := range owners {
		if few = append(few, o); len(few) == maxOwners {
			break
		}
	}
	return few
}

// variantOf tells what is not told by the ID of a workload's entry.
func variantOf(e Entry) variant { return variant(fmt.Sprintf("%+v", e.Attributes)) }
