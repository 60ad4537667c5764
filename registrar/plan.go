package registrar

import (
	"fmt"
	"slices"
	"strings"
)

// Action is what has to be done about an entry.
type Action int

// The actions of a [Plan].
const (
	Create Action = iota + 1
	Keep
	Update
	Refuse
	Wait   // nothing to do before its grace period is over
	Remove // for good
)

func (a Action) String() string {
	switch a {
	case Create:
		return "create"
	case Keep:
		return "keep"
	case Update:
		return "update"
	case Refuse:
		return "refuse"
	case Wait:
		return "wait"
	case Remove:
		return "remove"
	}
	return fmt.Sprintf("Action(%d)", int(a))
}

// Plan is what has to be done so that SPIRE holds an entry.
type Plan struct {
	Action Action
	// Entry is what SPIRE holds once the plan is carried out; what stands in the way under Refuse.
	Entry Entry
	// Fields are those to update, and only those: every update makes each agent that holds the SVID sign again.
	Fields Fields
	// Reason says, under Refuse, what is in the way and how to get rid of it.
	Reason string
}

// Plan compares the wanted entry with the one that SPIRE holds under the same ID or for the same (SPIFFE ID, parent,
// selectors); nil when there is none.
//
//	current                                          action
//	none                                             create
//	ours, nothing to change                          keep
//	ours, differs                                    update, in place, towards the converged entry
//	another's, same selectors, nothing to change     keep: it gives the same identity to the same workload
//	another's, otherwise                             refuse: what belongs to others is never touched
func (c Cluster) Plan(want Entry, current *Entry) Plan {
	want = want.Canonical()
	if current == nil {
		return Plan{Action: Create, Entry: want}
	}
	have := current.Canonical()
	target := want.Converge(have)
	target.ID = have.ID
	fields := have.differsIn(target)
	switch {
	case fields == 0:
		return Plan{Action: Keep, Entry: have}
	case c.Owns(have):
		return Plan{Action: Update, Entry: target, Fields: fields}
	}
	return Plan{
		Action: Refuse,
		Entry:  have,
		Reason: fmt.Sprintf("SPIRE's entry %q (SPIFFE ID %q, parent %q) was not made by the injector of cluster %q, "+
			"stands in the way of entry %q, and differs in: %s; delete or change it yourself: spire-server entry delete -entryID %s",
			have.ID, have.SPIFFEID, have.ParentID, c.Name, want.ID, fields, have.ID),
	}
}

// Converge is the entry that serves both e and o, which ask for one identity with different attributes: the
// shortest TTLs that are set, all DNS names and federated trust domains, the lesser authority (a flag stands only if
// both ask for it), the later expiry. The result has e's ID, SPIFFE ID, parent and selectors; in everything else the
// order and number of mergers does not matter, so that all replicas end at one entry.
func (e Entry) Converge(o Entry) Entry {
	e.Attributes = e.converge(o.Attributes)
	if e.Hint == "" || o.Hint != "" && o.Hint < e.Hint {
		e.Hint = o.Hint
	}
	e.StoreSVID = e.StoreSVID && o.StoreSVID
	if !e.ExpiresAt.IsZero() && (o.ExpiresAt.IsZero() || o.ExpiresAt.After(e.ExpiresAt)) {
		e.ExpiresAt = o.ExpiresAt
	}
	return e.Canonical()
}

// differsIn expects canonical entries. The ID is not a field: SPIRE cannot change it.
func (e Entry) differsIn(o Entry) Fields {
	var f Fields
	compare := func(field Fields, same bool) {
		if !same {
			f |= field
		}
	}
	compare(FieldSPIFFEID, e.SPIFFEID == o.SPIFFEID)
	compare(FieldParentID, e.ParentID == o.ParentID)
	compare(FieldSelectors, slices.Equal(e.Selectors, o.Selectors))
	compare(FieldX509SVIDTTL, e.X509SVIDTTL == o.X509SVIDTTL)
	compare(FieldJWTSVIDTTL, e.JWTSVIDTTL == o.JWTSVIDTTL)
	compare(FieldFederatesWith, slices.Equal(e.FederatesWith, o.FederatesWith))
	compare(FieldDNSNames, slices.Equal(e.DNSNames, o.DNSNames))
	compare(FieldHint, e.Hint == o.Hint)
	compare(FieldDownstream, e.Downstream == o.Downstream)
	compare(FieldAdmin, e.Admin == o.Admin)
	compare(FieldStoreSVID, e.StoreSVID == o.StoreSVID)
	compare(FieldExpiresAt, e.ExpiresAt.Equal(o.ExpiresAt))
	return f
}

// Fields is a set of an entry's fields.
type Fields uint16

// The fields of an entry that an update can change.
const (
	FieldSPIFFEID Fields = 1 << iota
	FieldParentID
	FieldSelectors
	FieldX509SVIDTTL
	FieldJWTSVIDTTL
	FieldFederatesWith
	FieldDNSNames
	FieldHint
	FieldDownstream
	FieldAdmin
	FieldStoreSVID
	FieldExpiresAt
)

// Has says whether all of the given fields are in the set.
func (f Fields) Has(fields Fields) bool { return f&fields == fields }

// String lists the fields by SPIRE's names.
func (f Fields) String() string {
	var names []string
	for i, name := range [...]string{"spiffe_id", "parent_id", "selectors", "x509_svid_ttl", "jwt_svid_ttl", "federates_with",
		"dns_names", "hint", "downstream", "admin", "store_svid", "expires_at"} {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
