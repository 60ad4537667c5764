package registrar_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

var entryComparer = cmp.Options{
	cmp.Comparer(func(a, b spiffeid.ID) bool { return a == b }),
	cmp.Comparer(func(a, b spiffeid.TrustDomain) bool { return a == b }),
}

func TestPlan(t *testing.T) {
	c := demoCluster(t)
	want := c.WorkloadEntry(workload("/api", 30*time.Second))
	as := func(changes ...func(*registrar.Entry)) *registrar.Entry {
		e := want.Canonical()
		for _, change := range changes {
			change(&e)
		}
		return &e
	}
	foreign := func(e *registrar.Entry) { e.ID = "somebody-elses" }
	reversed := func(e *registrar.Entry) {
		e.Selectors = slices.Clone(e.Selectors) // which the canonical form shares
		slices.Reverse(e.Selectors)
	}
	admin := func(e *registrar.Entry) { e.Admin = true }
	ttl := func(d time.Duration) func(*registrar.Entry) { return func(e *registrar.Entry) { e.X509SVIDTTL = d } }
	dns := func(names ...string) func(*registrar.Entry) { return func(e *registrar.Entry) { e.DNSNames = names } }

	for name, tc := range map[string]struct {
		current    *registrar.Entry
		action     registrar.Action
		fields     string
		entry      *registrar.Entry
		wantReason string
	}{
		"nothing there":                        {action: registrar.Create, entry: as()},
		"the same":                             {current: as(), action: registrar.Keep, entry: as()},
		"the same in another order":            {current: as(reversed), action: registrar.Keep, entry: as()},
		"a shorter TTL":                        {current: as(ttl(10 * time.Second)), action: registrar.Keep, entry: as(ttl(10 * time.Second))},
		"a longer TTL":                         {current: as(ttl(time.Hour)), action: registrar.Update, fields: "x509_svid_ttl", entry: as()},
		"the default TTL":                      {current: as(ttl(0)), action: registrar.Update, fields: "x509_svid_ttl", entry: as()},
		"DNS names of another pod":             {current: as(dns("b", "a")), action: registrar.Keep, entry: as(dns("a", "b"))},
		"drifted: admin":                       {current: as(admin), action: registrar.Update, fields: "admin", entry: as()},
		"drifted: expiry":                      {current: as(func(e *registrar.Entry) { e.ExpiresAt = time.Unix(1, 0) }), action: registrar.Update, fields: "expires_at", entry: as()},
		"drifted: stored SVID":                 {current: as(func(e *registrar.Entry) { e.StoreSVID = true }), action: registrar.Update, fields: "store_svid", entry: as()},
		"drifted: selectors":                   {current: as(func(e *registrar.Entry) { e.Selectors = e.Selectors[:1] }), action: registrar.Update, fields: "selectors", entry: as()},
		"drifted: SPIFFE ID":                   {current: as(func(e *registrar.Entry) { e.SPIFFEID = workload("/x", 0).ID }), action: registrar.Update, fields: "spiffe_id", entry: as()},
		"drifted twice":                        {current: as(admin, ttl(0)), action: registrar.Update, fields: "x509_svid_ttl, admin", entry: as()},
		"ours under another ID":                {current: as(ttl(0), func(e *registrar.Entry) { e.ID = "spire-injector.demo-cluster.old" }), action: registrar.Update, fields: "x509_svid_ttl", entry: as(func(e *registrar.Entry) { e.ID = "spire-injector.demo-cluster.old" })},
		"another's, the same":                  {current: as(foreign), action: registrar.Keep, entry: as(foreign)},
		"another's, TTL differs":               {current: as(foreign, ttl(0)), action: registrar.Refuse, wantReason: `entry "somebody-elses"`},
		"another's, admin":                     {current: as(foreign, admin), action: registrar.Refuse, wantReason: "differs in: admin; delete or change it yourself: spire-server entry delete -entryID somebody-elses"},
		"our ID but another parent":            {current: as(func(e *registrar.Entry) { e.ParentID = c.ServerID() }), action: registrar.Refuse, wantReason: "differs in: parent_id"},
		"our ID, another parent and SPIFFE ID": {current: as(func(e *registrar.Entry) { e.ParentID, e.SPIFFEID = c.ServerID(), workload("/x", 0).ID }), action: registrar.Refuse, wantReason: "differs in: spiffe_id, parent_id"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.Plan(want, tc.current)
			if got.Action != tc.action || got.Fields.String() != tc.fields {
				t.Errorf("plan to %v %q, want to %v %q", got.Action, got.Fields, tc.action, tc.fields)
			}
			if tc.entry != nil {
				if diff := cmp.Diff(*tc.entry, got.Entry, entryComparer); diff != "" {
					t.Errorf("entry afterwards (-want +got):\n%s", diff)
				}
			}
			if !strings.Contains(got.Reason, tc.wantReason) || (got.Reason == "") != (tc.action != registrar.Refuse) {
				t.Errorf("reason %q, want one with %q", got.Reason, tc.wantReason)
			}
		})
	}
}

func TestPlanOfTheAlias(t *testing.T) {
	c := demoCluster(t)
	alias := c.NodeAlias()
	handMade := alias
	handMade.ID, handMade.Hint = "4f1c", "made by hand"
	if got := c.Plan(alias, &handMade); got.Action != registrar.Keep {
		t.Errorf("an operator's own alias: plan to %v (%s), want to keep it", got.Action, got.Reason)
	}
	drifted := alias
	drifted.Selectors = []registrar.Selector{{Type: "k8s_psat", Value: "cluster:other"}}
	if got := c.Plan(alias, &drifted); got.Action != registrar.Update || got.Fields != registrar.FieldSelectors {
		t.Errorf("alias with other node selectors: plan to %v %q, want to update selectors", got.Action, got.Fields)
	}
	taken := c.WorkloadEntry(workload("/x", 0))
	taken.ID = alias.ID
	if got := c.Plan(alias, &taken); got.Action != registrar.Refuse || got.Entry.ID != taken.ID {
		t.Errorf("the alias' entry ID is taken: plan to %v, want to refuse", got.Action)
	}
}

// Whatever the order in which pods ask, the entry ends the same, and asking again changes nothing.
func TestConvergeKnowsNoOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b, c := randomEntry(r), randomEntry(r), randomEntry(r)
		ab := a.Converge(b)
		if diff := cmp.Diff(ab, b.Converge(a), entryComparer); diff != "" {
			t.Fatalf("order matters:\n%s\n%+v\n%+v", diff, a, b)
		}
		if diff := cmp.Diff(ab.Converge(c), a.Converge(b.Converge(c)), entryComparer); diff != "" {
			t.Fatalf("grouping matters:\n%s\n%+v\n%+v\n%+v", diff, a, b, c)
		}
		if diff := cmp.Diff(ab, ab.Converge(a), entryComparer); diff != "" {
			t.Fatalf("repeating matters:\n%s\n%+v\n%+v", diff, a, b)
		}
	}
}

func TestConverge(t *testing.T) {
	td := func(s string) spiffeid.TrustDomain { return spiffeid.RequireTrustDomainFromString(s) }
	a := registrar.Entry{
		Attributes: registrar.Attributes{
			X509SVIDTTL:   time.Hour,
			DNSNames:      []string{"b", "a"},
			FederatesWith: []spiffeid.TrustDomain{td("b.org")},
			Admin:         true,
			Downstream:    true,
		},
		ExpiresAt: time.Unix(5, 0),
	}
	b := registrar.Entry{
		Attributes: registrar.Attributes{
			X509SVIDTTL:   time.Minute,
			JWTSVIDTTL:    time.Minute,
			DNSNames:      []string{"c", "a"},
			FederatesWith: []spiffeid.TrustDomain{td("a.org")},
			Downstream:    true,
		},
		Hint:      "h",
		ExpiresAt: time.Unix(9, 0),
	}
	want := registrar.Entry{
		Attributes: registrar.Attributes{
			X509SVIDTTL:   time.Minute,
			JWTSVIDTTL:    time.Minute,
			DNSNames:      []string{"a", "b", "c"},
			FederatesWith: []spiffeid.TrustDomain{td("a.org"), td("b.org")},
			Downstream:    true,
		},
		Hint:      "h",
		ExpiresAt: time.Unix(9, 0).UTC(),
	}
	if diff := cmp.Diff(want, a.Converge(b), entryComparer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func randomEntry(r *rand.Rand) registrar.Entry {
	e := registrar.Entry{
		Attributes: registrar.Attributes{
			X509SVIDTTL: time.Duration(r.IntN(3)) * time.Minute,
			JWTSVIDTTL:  time.Duration(r.IntN(3)) * time.Minute,
			Admin:       r.IntN(2) == 0,
			Downstream:  r.IntN(2) == 0,
		},
		Hint:      []string{"", "a", "b"}[r.IntN(3)],
		StoreSVID: r.IntN(2) == 0,
	}
	for range r.IntN(4) {
		e.DNSNames = append(e.DNSNames, []string{"a", "b", "c"}[r.IntN(3)])
		e.FederatesWith = append(e.FederatesWith, spiffeid.RequireTrustDomainFromString([]string{"a", "b", "c"}[r.IntN(3)]))
	}
	if n := r.IntN(3); n > 0 {
		e.ExpiresAt = time.Unix(int64(n), 0)
	}
	return e.Canonical()
}
