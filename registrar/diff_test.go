package registrar_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

func TestDiff(t *testing.T) {
	c := demoCluster(t)
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	auxiliary := spiffeid.RequireTrustDomainFromString("auxiliary.org")
	base := c.WorkloadEntry(workload("/api", 30*time.Second))
	as := func(changes ...func(*registrar.Entry)) *registrar.Entry {
		e := base.Canonical()
		for _, change := range changes {
			change(&e)
		}
		return &e
	}
	ttl := func(d time.Duration) func(*registrar.Entry) { return func(e *registrar.Entry) { e.X509SVIDTTL = d } }
	created := func(ago time.Duration) func(*registrar.Entry) {
		return func(e *registrar.Entry) { e.CreatedAt = start.Add(-ago) }
	}
	expires := func(at time.Time) func(*registrar.Entry) { return func(e *registrar.Entry) { e.ExpiresAt = at } }
	federated := func(e *registrar.Entry) { e.FederatesWith = []spiffeid.TrustDomain{auxiliary} }
	below := func(parent spiffeid.ID) func(*registrar.Entry) {
		return func(e *registrar.Entry) { e.ParentID = parent }
	}
	alias := c.NodeAlias()
	identity := registrar.IdentityHash(base.SPIFFEID)
	row := c.NodeRow(identity, "here")
	named := func(id string) func(*registrar.Entry) { return func(e *registrar.Entry) { e.ID = id } }
	rowAs := func(changes ...func(*registrar.Entry)) *registrar.Entry {
		e := row.Canonical()
		for _, change := range changes {
			change(&e)
		}
		return &e
	}

	const nothing = ""
	for name, tc := range map[string]struct {
		wanted  *registrar.Entry
		held    bool
		current *registrar.Entry
		exactly bool
		bundles []spiffeid.TrustDomain
		placed  bool          // all rows of the identity are in force
		since   time.Duration // since how long the row has no owner; 0: not yet
		want    string        // action, why, fields
		after   *registrar.Entry
	}{
		"wanted, not there":                        {wanted: as(), want: "create EntryMissing", after: as()},
		"wanted and there":                         {wanted: as(), current: as(), want: nothing},
		"there with a shorter TTL":                 {wanted: as(), current: as(ttl(10 * time.Second)), want: nothing},
		"there with a shorter TTL, exactly":        {wanted: as(), current: as(ttl(10 * time.Second)), exactly: true, want: "update EntryDrifted x509_svid_ttl", after: as()},
		"there with a longer TTL":                  {wanted: as(), current: as(ttl(time.Hour)), want: "update EntryDrifted x509_svid_ttl", after: as()},
		"wanted again":                             {wanted: as(), current: as(expires(start.Add(time.Hour))), want: "update EntryNeededAgain expires_at", after: as()},
		"wanted again, exactly":                    {wanted: as(), current: as(expires(start.Add(-time.Hour))), exactly: true, want: "update EntryNeededAgain expires_at", after: as()},
		"another's in its place":                   {wanted: as(), current: as(ttl(0), named("someone")), want: "refuse EntryInTheWay"},
		"another's in its place, exactly":          {wanted: as(), current: as(ttl(0), named("someone")), exactly: true, want: "refuse EntryInTheWay"},
		"another's serves":                         {wanted: as(), current: as(named("someone")), exactly: true, want: nothing},
		"ours of another ID":                       {wanted: as(), current: as(named("spire-injector.demo-cluster.old")), exactly: true, want: nothing},
		"no bundle":                                {wanted: as(federated), current: as(), exactly: true, want: "keep BundleMissing"},
		"no bundle, not there":                     {wanted: as(federated), want: "create EntryMissing", after: as()},
		"the bundle came":                          {wanted: as(federated), current: as(), bundles: []spiffeid.TrustDomain{auxiliary}, want: "update EntryDrifted federates_with", after: as(federated)},
		"the bundle went":                          {wanted: as(federated), current: as(federated), exactly: true, want: "update EntryDrifted federates_with", after: as()},
		"held, there":                              {held: true, current: as(), exactly: true, want: nothing},
		"held, there in another form":              {held: true, current: as(ttl(time.Hour), federated), exactly: true, want: nothing},
		"held, to be removed":                      {held: true, current: as(expires(start.Add(time.Minute))), want: "update EntryNeededAgain expires_at", after: as()},
		"held, our prefix with another parent":     {held: true, current: as(func(e *registrar.Entry) { e.ParentID = c.ServerID() }, expires(start.Add(time.Minute))), want: nothing},
		"held, missing":                            {held: true, want: "refuse EntryNotAllowed"},
		"orphaned":                                 {current: as(), want: "update EntryOrphaned expires_at", after: as(expires(start.Add(10 * time.Minute)))},
		"without owner, created just now":          {current: as(created(15*time.Second - 1)), want: nothing},
		"without owner, created a while ago":       {current: as(created(15 * time.Second)), want: "update EntryOrphaned expires_at", after: as(created(15*time.Second), expires(start.Add(10*time.Minute)))},
		"created just now, to be removed":          {current: as(created(0), expires(start)), want: "remove EntryExpired"},
		"orphaned, to be removed":                  {current: as(expires(start.Add(time.Second))), want: "wait EntryOrphaned"},
		"orphaned for long":                        {current: as(expires(start)), want: "remove EntryExpired"},
		"another's, orphaned":                      {current: as(named("someone"), expires(start)), want: nothing},
		"another cluster's, orphaned":              {current: as(named("spire-injector.demo-cluster-2.x"), expires(start)), want: nothing},
		"our prefix with another parent, orphaned": {current: as(func(e *registrar.Entry) { e.ParentID = c.ServerID() }, expires(start)), want: nothing},
		"the alias, with nothing below":            {current: &alias, want: "remove AliasOrphaned"},

		"below the alias, not placed":          {wanted: as(), current: as(below(alias.SPIFFEID)), exactly: true, want: nothing},
		"below the alias, not placed, drifted": {wanted: as(), current: as(below(alias.SPIFFEID), ttl(time.Hour)), exactly: true, want: "update EntryDrifted x509_svid_ttl", after: as(below(alias.SPIFFEID))},
		"below the alias, placed":              {wanted: as(), current: as(below(alias.SPIFFEID)), placed: true, want: "update EntryMoved parent_id", after: as()},
		"below the alias, placed, drifted":     {wanted: as(), current: as(below(alias.SPIFFEID), ttl(time.Hour)), placed: true, exactly: true, want: "update EntryDrifted parent_id, x509_svid_ttl", after: as()},
		"below the alias, held, not placed":    {held: true, current: as(below(alias.SPIFFEID)), want: nothing},
		"below the alias, held, placed":        {held: true, current: as(below(alias.SPIFFEID), ttl(time.Hour)), placed: true, want: "update EntryMoved parent_id", after: as(ttl(time.Hour))},
		"below the alias, orphaned":            {current: as(below(alias.SPIFFEID)), placed: true, want: "update EntryOrphaned expires_at", after: as(below(alias.SPIFFEID), expires(start.Add(10*time.Minute)))},
		"below another identity's path":        {wanted: as(), current: as(below(c.AliasPath("x"))), exactly: true, want: "update EntryMoved parent_id", after: as()},

		"row wanted, not there":                 {wanted: rowAs(), want: "create RowMissing", after: rowAs()},
		"row wanted and there":                  {wanted: rowAs(), current: rowAs(), exactly: true, want: nothing},
		"row of other nodes":                    {wanted: rowAs(), current: rowAs(func(e *registrar.Entry) { e.Selectors = c.NodeSelectors }), want: "remove RowDrifted selectors"},
		"row that would expire":                 {wanted: rowAs(), current: rowAs(expires(start.Add(time.Hour))), exactly: true, want: "remove RowDrifted expires_at"},
		"row of others in its place":            {wanted: rowAs(), current: rowAs(named("someone")), exactly: true, want: nothing},
		"row orphaned just now":                 {current: &row, want: "wait RowOrphaned"},
		"row orphaned, within the grace period": {current: &row, since: 9 * time.Minute, want: "wait RowOrphaned"},
		"row orphaned for long":                 {current: &row, since: 10 * time.Minute, want: "remove RowOrphaned"},
		"row of a node that is gone":            {current: rowAs(named("spire-injector.demo-cluster.row-x-gone")), want: "remove NodeGone"},
		"row of all nodes, orphaned":            {current: rowAs(named("spire-injector.demo-cluster.row-x")), want: "wait RowOrphaned"},
		"another cluster's row":                 {current: rowAs(named("spire-injector.demo-cluster.b.row-x-gone")), want: nothing},
	} {
		t.Run(name, func(t *testing.T) {
			wanted := map[string]registrar.Wanted{}
			id := base.ID
			if tc.wanted != nil {
				id = tc.wanted.ID
			}
			if tc.wanted != nil || tc.held {
				wanted[id] = registrar.Wanted{Entry: tc.wanted, Owners: []registrar.Owner{pod("a")}}
			}
			var current []registrar.Entry
			if tc.current != nil {
				current = append(current, *tc.current)
			}
			rules := registrar.Rules{
				Now: start, Grace: 10 * time.Minute, Bundles: tc.bundles, Exactly: tc.exactly, Admission: 15 * time.Second,
				Placed:  func(of string) bool { return tc.placed && of == identity },
				HasNode: func(uid string) bool { return uid == "here" },
			}
			if tc.since > 0 {
				rules.Orphaned = map[string]time.Time{row.ID: start.Add(-tc.since)}
			}
			steps := c.Diff(wanted, current, rules)
			var got []string
			for _, s := range steps {
				got = append(got, strings.TrimSpace(s.Action.String()+" "+string(s.Why)+" "+s.Fields.String()))
				if tc.current != nil && s.ID != tc.current.ID || tc.current == nil && s.ID != id {
					t.Errorf("the step is about entry %s", s.ID)
				}
			}
			if strings.Join(got, "; ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.after == nil || len(steps) != 1 {
				return
			}
			if diff := cmp.Diff(*tc.after, steps[0].Entry, entryComparer); diff != "" {
				t.Errorf("entry afterwards (-want +got):\n%s", diff)
			}
		})
	}
}

// SPIRE keeps expiries to the second: none may come before the grace period is over.
func TestExpiryIsRoundedUp(t *testing.T) {
	c := demoCluster(t)
	at := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for now, want := range map[time.Time]time.Time{
		at:                             at.Add(time.Minute),
		at.Add(1):                      at.Add(time.Minute + time.Second),
		at.Add(999 * time.Millisecond): at.Add(time.Minute + time.Second),
	} {
		steps := c.Diff(nil, []registrar.Entry{c.WorkloadEntry(workload("/api", 0))}, registrar.Rules{Now: now, Grace: time.Minute})
		if len(steps) != 1 || !steps[0].Entry.ExpiresAt.Equal(want) {
			t.Errorf("orphaned at %v: %+v, want that it expires at %v", now, steps, want)
		}
	}
}

// Of two entries for one identity the one that we can change is taken, in whatever order SPIRE lists them.
func TestDiffTakesOurEntryBeforeOthers(t *testing.T) {
	c := demoCluster(t)
	want := c.WorkloadEntry(workload("/api", time.Minute))
	ours, theirs := want, want
	ours.ID, ours.X509SVIDTTL = "spire-injector.demo-cluster.old", time.Hour
	theirs.ID, theirs.X509SVIDTTL = "someone", time.Hour
	for _, current := range [][]registrar.Entry{{ours, theirs}, {theirs, ours}} {
		steps := c.Diff(map[string]registrar.Wanted{want.ID: {Entry: &want}}, current, registrar.Rules{Now: time.Now()})
		if len(steps) != 1 || steps[0].Action != registrar.Update || steps[0].ID != ours.ID {
			t.Errorf("steps %+v, want an update of %s", steps, ours.ID)
		}
	}
}

// What a diff leads to needs no other step, but for waiting.
func TestDiffConverges(t *testing.T) {
	c := demoCluster(t)
	rules := registrar.Rules{Now: time.Now(), Grace: time.Minute, Exactly: true}
	wanted := map[string]registrar.Wanted{}
	var current []registrar.Entry
	for i, path := range []string{"/a", "/b", "/c", "/d", "/e", "/f"} {
		e := c.WorkloadEntry(workload(path, time.Minute))
		if i%2 == 0 {
			wanted[e.ID] = registrar.Wanted{Entry: &e}
		}
		if i%3 != 0 {
			drifted := e
			drifted.X509SVIDTTL = time.Hour
			current = append(current, drifted)
		}
	}
	for round := range 2 {
		steps := c.Diff(wanted, current, rules)
		for _, s := range steps {
			current = slices.DeleteFunc(current, func(e registrar.Entry) bool { return e.ID == s.ID })
			if s.Action != registrar.Remove {
				current = append(current, s.Entry)
			}
			if round == 1 && s.Action != registrar.Wait {
				t.Errorf("%v %s in the second round", s.Action, s.ID)
			}
		}
		if round == 0 && len(steps) < 5 {
			t.Errorf("%d steps in the first round, want one about each entry that is not right", len(steps))
		}
	}
}

// What hangs below the alias of all nodes needs it, whoever's it is.
func TestDiffKeepsTheNodeAliasWhileSomethingIsBelow(t *testing.T) {
	c := demoCluster(t)
	theirs := registrar.Entry{ID: "someone", SPIFFEID: workload("/theirs", 0).ID, ParentID: c.NodeAlias().SPIFFEID}
	rules := registrar.Rules{Now: time.Now(), Grace: time.Minute, Exactly: true}
	if steps := c.Diff(nil, []registrar.Entry{c.NodeAlias(), theirs}, rules); len(steps) != 0 {
		t.Errorf("steps %+v, want none", steps)
	}
}

// Without rules about rows nothing is known of them: none is removed, and nothing is moved.
func TestDiffKnowsNothingOfRowsByItself(t *testing.T) {
	c := demoCluster(t)
	want := c.WorkloadEntry(workload("/api", 0))
	old := want
	old.ParentID = c.NodeAlias().SPIFFEID
	current := []registrar.Entry{c.NodeAlias(), old, c.NodeRow("x", "y")}
	rules := registrar.Rules{Now: time.Now(), Exactly: true}
	for _, s := range c.Diff(map[string]registrar.Wanted{want.ID: {Entry: &want}}, current, rules) {
		if s.Action != registrar.Wait {
			t.Errorf("%v %s, want nothing but to wait", s.Action, s.ID)
		}
	}
}

// A quarantined identity has no row, whoever wants it, and its workload's entry stays parked; others are left alone.
func TestDiffParksQuarantinedIdentities(t *testing.T) {
	c := demoCluster(t)
	entry, other := c.WorkloadEntry(workload("/api", 0)), c.WorkloadEntry(workload("/other", 0))
	rowOn := func(e registrar.Entry, uid string) registrar.Entry {
		return c.NodeRow(registrar.IdentityHash(e.SPIFFEID), uid)
	}
	wanted := map[string]registrar.Wanted{entry.ID: {}, other.ID: {Entry: &other}}
	for _, row := range []registrar.Entry{rowOn(entry, "kept"), rowOn(entry, "new"), rowOn(other, "kept")} {
		wanted[row.ID] = registrar.Wanted{Entry: &row, Owners: []registrar.Owner{pod("a")}}
	}
	all := c.ClusterRow(registrar.IdentityHash(entry.SPIFFEID))
	current := []registrar.Entry{
		entry, rowOn(entry, "kept"), rowOn(entry, "orphaned"), all, other, rowOn(other, "kept"), rowOn(other, "orphaned"),
	}
	want := map[string]string{
		rowOn(entry, "kept").ID:     "remove RowQuarantined",
		rowOn(entry, "orphaned").ID: "remove RowQuarantined",
		all.ID:                      "remove RowQuarantined",
		rowOn(other, "orphaned").ID: "wait RowOrphaned",
	}
	got := map[string]string{}
	for _, s := range c.Diff(wanted, current, registrar.Rules{
		Now:         time.Now(),
		Grace:       time.Minute,
		Quarantined: func(id spiffeid.ID) bool { return id == entry.SPIFFEID },
		Exactly:     true,
	}) {
		got[s.ID] = s.Action.String() + " " + string(s.Why)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
