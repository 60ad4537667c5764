package registrar

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Step is what has to be done about one entry so that SPIRE holds what is wanted.
type Step struct {
	Plan
	// ID is that of the entry in SPIRE, also under Refuse.
	ID string
	// wanted is the ID under which it is wanted; the other one may be of an entry in its place.
	wanted string
	// Why is empty when there is nothing to say.
	Why reason.Reason
	// Missing are the trust domains that the entry has to do without until SPIRE has their bundles.
	Missing []spiffeid.TrustDomain
	// Owners are some of those that need the entry.
	Owners []Owner
}

// Rules are what a [Diff] goes by beside what is wanted and what is there.
type Rules struct {
	Now time.Time
	// Grace is how long an entry without owners stays.
	Grace time.Duration
	// Bundles are the foreign trust domains that SPIRE has bundles of.
	Bundles []spiffeid.TrustDomain
	// Placed says of an identity, given by its [IdentityHash], whether every row that it needs is in force; nil: of none.
	Placed func(identity string) bool
	// HasNode says whether there is a node of a UID; nil: there are all.
	HasNode func(uid string) bool
	// Quarantined says of an identity that no agent may have it; nil: of none.
	Quarantined func(id spiffeid.ID) bool
	// Orphaned is since when rows have no owner, by entry ID.
	Orphaned map[string]time.Time
	// Exactly also takes back what no owner asks for any more, such as a TTL shorter than needed. It is right only when
	// what is wanted was read later than what is there: an owner that was admitted in between must not lose what it
	// asked for.
	Exactly bool
	// Admission is how long after its creation an entry may have no owner yet: its pod is still being admitted, or has
	// not been seen.
	Admission time.Duration
}

// Diff compares what is wanted with what SPIRE holds of the cluster, and returns what has to be done, what is left to
// wait for, and what stands in the way, by entry ID; what is right as it is is left out.
//
//	owners            in SPIRE                              step
//	say what it is    nothing                               create
//	say what it is    ours, the same                        none
//	say what it is    ours, differs                         update in place
//	say what it is    a row, differs                        remove, and then create
//	say what it is    another's                             as [Cluster.Plan] has it: none, or refuse
//	hold it           nothing                               refuse: nobody may create it any more
//	hold it           ours                                  none; update in place if it would expire
//	none              ours, created a moment ago            none: its pod may come yet
//	none              ours, does not expire                 update in place: it expires after the grace time
//	none              ours, will expire                     wait
//	none              ours, has expired                     remove
//	none              a row                                 wait for the grace time, then remove
//	none              a row of a node that is gone          remove
//	any               a row of a quarantined identity       remove
//	any               none, of a quarantined identity       none
//	none              the node alias, with entries below    none
//	none              the node alias, without               remove
//	none              another's                             none
//
// A quarantined identity is known by a workload's entry among the current ones: rows have its hash alone.
//
// A workload's entry below the node alias stays there until the rows of its identity are in force; then its parent is
// updated in place.
//
// That a workload's entry is to be removed is written into the entry itself, as its expiry: so the grace time goes on
// while no replica runs, all replicas know it, and SPIRE removes the entry if we never do. Rows never change.
func (c Cluster) Diff(wanted map[string]Wanted, current []Entry, rules Rules) []Step {
	there, quarantined := c.index(current), c.quarantinedAmong(current, rules)
	var steps []Step
	add := func(s Step) {
		if s.Action != Keep || len(s.Missing) > 0 {
			steps = append(steps, s)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if identity, _, isRow := c.rowOf(id); isRow && quarantined[identity] {
			continue
		}
		add(c.stepFor(id, wanted[id], there.take(id, wanted[id].Entry), rules))
	}
	belowAlias := slices.ContainsFunc(current, func(e Entry) bool { return c.isAlias(e.ParentID) })
	for _, id := range slices.Sorted(maps.Keys(there.byID)) {
		if e := there.byID[id]; c.KindOf(e) != KindNodeAlias {
			add(c.stepWithoutOwner(e, quarantined, rules))
		} else if !belowAlias {
			add(Step{ID: id, wanted: id, Plan: Plan{Action: Remove, Entry: e}, Why: reason.AliasOrphaned})
		}
	}
	return steps
}

// quarantinedAmong are the identities, by their [IdentityHash], of workloads' entries that no agent may have.
func (c Cluster) quarantinedAmong(entries []Entry, rules Rules) map[string]bool {
	if rules.Quarantined == nil {
		return nil
	}
	found := map[string]bool{}
	for _, e := range entries {
		if c.KindOf(e) == KindWorkload && rules.Quarantined(e.SPIFFEID) {
			found[IdentityHash(e.SPIFFEID)] = true
		}
	}
	return found
}

func (c Cluster) stepFor(id string, wanted Wanted, current *Entry, rules Rules) Step {
	s := Step{ID: id, wanted: id, Owners: wanted.Owners}
	switch {
	case wanted.Entry != nil:
		var narrowed Entry
		narrowed, s.Missing = wanted.Entry.Narrow(func(td spiffeid.TrustDomain) bool {
			return slices.Contains(rules.Bundles, td)
		})
		if current != nil && c.Owns(*current) {
			narrowed.ParentID = c.parentFor(narrowed, *current, rules)
		}
		if s.Plan = c.Plan(narrowed, current); rules.Exactly && current != nil && c.Owns(*current) {
			s.Plan = exactly(narrowed, *current)
		}
	case current == nil:
		s.Plan, s.Why = Plan{
			Action: Refuse,
			Reason: "its pods run with an identity that the platform file does not allow them any more, and SPIRE has lost it: " +
				"allow it again in identity.claims, or give them another one",
		}, reason.EntryNotAllowed
		return s
	case c.Owns(*current):
		kept := current.Canonical()
		kept.ExpiresAt, kept.ParentID = time.Time{}, c.parentFor(c.parked(kept), *current, rules)
		s.Plan = exactly(kept, *current)
	default:
		s.Plan = Plan{Action: Keep, Entry: *current}
	}
	if current != nil {
		s.ID = current.ID
		if s.Action == Update && c.KindOf(*current) == KindRow {
			s.Plan = Plan{Action: Remove, Entry: *current, Fields: s.Fields}
		}
	}
	s.Why = c.why(s)
	return s
}

// parked is a workload's entry below the alias path of its identity.
func (c Cluster) parked(e Entry) Entry {
	e.ParentID = c.AliasPath(IdentityHash(e.SPIFFEID))
	return e
}

// parentFor is the wanted parent, but for an entry that has to stay below the node alias yet.
func (c Cluster) parentFor(want, current Entry, rules Rules) spiffeid.ID {
	if c.isAlias(current.ParentID) && (rules.Placed == nil || !rules.Placed(IdentityHash(want.SPIFFEID))) {
		return current.ParentID
	}
	return want.ParentID
}

// why is the reason of a step about an entry that has owners.
func (c Cluster) why(s Step) reason.Reason {
	_, _, isRow := c.rowOf(s.wanted)
	switch {
	case s.Action == Create && isRow:
		return reason.RowMissing
	case s.Action == Create:
		return reason.EntryMissing
	case s.Action == Remove:
		return reason.RowDrifted
	case s.Action == Update && s.Fields == FieldExpiresAt:
		return reason.EntryNeededAgain
	case s.Action == Update && s.Fields == FieldParentID:
		return reason.EntryMoved
	case s.Action == Update:
		return reason.EntryDrifted
	case s.Action == Refuse:
		return reason.EntryInTheWay
	case len(s.Missing) > 0:
		return reason.BundleMissing
	}
	return ""
}

// exactly is the update that makes an entry of ours what is wanted, no more and no less.
func exactly(want, current Entry) Plan {
	have, target := current.Canonical(), want.Canonical()
	target.ID = have.ID
	fields := have.differsIn(target)
	if fields == 0 {
		return Plan{Action: Keep, Entry: have}
	}
	return Plan{Action: Update, Entry: target, Fields: fields}
}

func (c Cluster) stepWithoutOwner(current Entry, quarantined map[string]bool, rules Rules) Step {
	s := Step{ID: current.ID, wanted: current.ID}
	switch kind := c.KindOf(current); {
	case kind == KindRow:
		s.Plan, s.Why = c.rowWithoutOwner(current, quarantined, rules)
	case kind != KindWorkload, current.ExpiresAt.IsZero() && rules.Now.Before(current.CreatedAt.Add(rules.Admission)):
		s.Plan = Plan{Action: Keep, Entry: current}
	case current.ExpiresAt.IsZero():
		target := current.Canonical()
		target.ExpiresAt = wholeSecond(rules.Now.Add(rules.Grace))
		s.Plan, s.Why = Plan{Action: Update, Entry: target.Canonical(), Fields: FieldExpiresAt}, reason.EntryOrphaned
	case rules.Now.Before(current.ExpiresAt):
		s.Plan, s.Why = Plan{Action: Wait, Entry: current}, reason.EntryOrphaned
	default:
		s.Plan, s.Why = Plan{Action: Remove, Entry: current}, reason.EntryExpired
	}
	return s
}

func (c Cluster) rowWithoutOwner(row Entry, quarantined map[string]bool, rules Rules) (Plan, reason.Reason) {
	identity, uid, _ := c.rowOf(row.ID)
	since, known := rules.Orphaned[row.ID]
	switch {
	case quarantined[identity]:
		return Plan{Action: Remove, Entry: row}, reason.RowQuarantined
	case uid != "" && rules.HasNode != nil && !rules.HasNode(uid):
		return Plan{Action: Remove, Entry: row}, reason.NodeGone
	case !known || rules.Now.Before(since.Add(rules.Grace)):
		return Plan{Action: Wait, Entry: row}, reason.RowOrphaned
	}
	return Plan{Action: Remove, Entry: row}, reason.RowOrphaned
}

// wholeSecond is the first one that is not before then: SPIRE keeps expiries to the second, and none may come early.
func wholeSecond(then time.Time) time.Time {
	whole := then.Truncate(time.Second)
	if whole.Before(then) {
		whole = whole.Add(time.Second)
	}
	return whole
}

// index finds entries by ID, and by what SPIRE allows only once.
type index struct {
	cluster Cluster
	all     []Entry
	byID    map[string]Entry
	byKey   map[string]string // nil until it is needed, which is seldom
}

func (c Cluster) index(entries []Entry) index {
	x := index{cluster: c, all: entries, byID: make(map[string]Entry, len(entries))}
	for _, e := range entries {
		x.byID[e.ID] = e
	}
	return x
}

// take returns the entry that has the place of a wanted one, and removes it from the index.
func (x *index) take(id string, wanted *Entry) *Entry {
	if _, there := x.byID[id]; !there && wanted != nil {
		id = x.inPlaceOf(*wanted)
	}
	e, there := x.byID[id]
	if !there {
		return nil
	}
	delete(x.byID, id)
	return &e
}

// inPlaceOf is the ID of an entry that SPIRE holds where it would hold the wanted one.
func (x *index) inPlaceOf(wanted Entry) (id string) {
	if x.byKey == nil {
		x.byKey = make(map[string]string, len(x.all))
		owned := map[string]bool{}
		for _, e := range x.all {
			// An entry of ours before one of others: it is the one that we can change.
			if k := key(e); !owned[k] {
				x.byKey[k], owned[k] = e.ID, x.cluster.Owns(e)
			}
		}
	}
	return x.byKey[key(wanted)]
}

// key is what SPIRE lets only one entry have: SPIFFE ID, parent and selectors.
func key(e Entry) string {
	parts := []string{e.SPIFFEID.String(), e.ParentID.String()}
	for _, s := range e.Canonical().Selectors {
		parts = append(parts, s.String())
	}
	return strings.Join(parts, "\x00")
}
