package registrar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

var exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")

func demoCluster(t testing.TB) registrar.Cluster {
	t.Helper()
	c, err := registrar.NewCluster("demo-cluster", exampleOrg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func workload(path string, ttl time.Duration) registrar.Workload {
	return registrar.Workload{
		ID:             spiffeid.RequireFromPath(exampleOrg, path),
		Namespace:      "demo",
		ServiceAccount: "default",
		Attributes:     registrar.Attributes{X509SVIDTTL: ttl},
	}
}

func TestNewCluster(t *testing.T) {
	for name, tc := range map[string]struct {
		cluster   string
		td        spiffeid.TrustDomain
		selectors []registrar.Selector
		want      []registrar.Selector
		wantErr   string
	}{
		"default node selector": {cluster: "demo", td: exampleOrg, want: []registrar.Selector{{Type: "k8s_psat", Value: "cluster:demo"}}},
		"own node selectors, sorted, once": {
			cluster: "demo", td: exampleOrg,
			selectors: []registrar.Selector{{Type: "x", Value: "2"}, {Type: "x", Value: "1"}, {Type: "x", Value: "2"}},
			want:      []registrar.Selector{{Type: "x", Value: "1"}, {Type: "x", Value: "2"}},
		},
		"no name":            {td: exampleOrg, wantErr: `cluster name "": expected 1 to 128 of the characters A-Z a-z 0-9 . _ -`},
		"slash":              {cluster: "a/b", td: exampleOrg, wantErr: `cluster name "a/b": expected`},
		"only dots":          {cluster: "..", td: exampleOrg, wantErr: `cluster name "..": expected`},
		"too long":           {cluster: strings.Repeat("a", 129), td: exampleOrg, wantErr: "expected 1 to 128 of the characters"},
		"no trust domain":    {cluster: "demo", wantErr: "no trust domain"},
		"bad node selectors": {cluster: "demo", td: exampleOrg, selectors: []registrar.Selector{{Type: "x"}}, wantErr: `selector "x:": expected type:value`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := registrar.NewCluster(tc.cluster, tc.td, tc.selectors...)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, c.NodeAlias().Selectors); diff != "" {
				t.Errorf("node selectors (-want +got):\n%s", diff)
			}
			if err := c.NodeAlias().Validate(); err != nil {
				t.Errorf("the alias is not valid: %v", err)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	c := demoCluster(t)
	longer, err := registrar.NewCluster("demo-cluster.b", exampleOrg)
	if err != nil {
		t.Fatal(err)
	}
	workloadEntry := c.WorkloadEntry(workload("/api", 0))
	identity := registrar.IdentityHash(workloadEntry.SPIFFEID)
	row, ofAll := c.NodeRow(identity, "4f1c"), c.ClusterRow(identity)
	change := func(e registrar.Entry, f func(*registrar.Entry)) registrar.Entry {
		f(&e)
		return e
	}
	named := func(id string) func(*registrar.Entry) { return func(e *registrar.Entry) { e.ID = id } }
	below := func(parent spiffeid.ID) func(*registrar.Entry) {
		return func(e *registrar.Entry) { e.ParentID = parent }
	}
	called := func(id spiffeid.ID) func(*registrar.Entry) { return func(e *registrar.Entry) { e.SPIFFEID = id } }
	const foreign, ours, aRow, alias = registrar.KindForeign, registrar.KindWorkload, registrar.KindRow, registrar.KindNodeAlias
	for name, tc := range map[string]struct {
		entry registrar.Entry
		want  registrar.EntryKind
	}{
		"alias":                              {c.NodeAlias(), alias},
		"alias with other selectors":         {change(c.NodeAlias(), func(e *registrar.Entry) { e.Selectors = nil }), alias},
		"alias' ID, another SPIFFE ID":       {change(c.NodeAlias(), called(workloadEntry.SPIFFEID)), foreign},
		"alias' content under another ID":    {change(c.NodeAlias(), named("x")), foreign},
		"workload":                           {workloadEntry, ours},
		"workload below the alias":           {change(workloadEntry, below(c.NodeAlias().SPIFFEID)), ours},
		"our prefix, another parent":         {change(workloadEntry, below(c.ServerID())), foreign},
		"our parent, another prefix":         {change(workloadEntry, named("demo-cluster.x")), foreign},
		"a cluster whose name starts alike":  {longer.WorkloadEntry(workload("/api", 0)), foreign},
		"the alias of such a cluster":        {longer.NodeAlias(), foreign},
		"a row of such a cluster":            {longer.NodeRow(identity, "4f1c"), foreign},
		"an entry with nothing of ours":      {registrar.Entry{ID: "f7a1", SPIFFEID: workloadEntry.SPIFFEID}, foreign},
		"our prefix without the dot, parent": {change(workloadEntry, named("spire-injector.demo-cluster2.x")), foreign},
		"row of a node":                      {row, aRow},
		"row of all nodes":                   {ofAll, aRow},
		"row of other nodes":                 {change(row, func(e *registrar.Entry) { e.Selectors = nil }), aRow},
		"a row's ID, another parent":         {change(row, below(workloadEntry.ParentID)), foreign},
		"a row's ID, another SPIFFE ID":      {change(row, called(workloadEntry.SPIFFEID)), foreign},
		"a row's ID, another cluster's path": {change(row, called(longer.AliasPath(identity))), foreign},
		"a row's content under another ID":   {change(row, named("x")), foreign},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.KindOf(tc.entry); got != tc.want {
				t.Errorf("kind %v of %+v, want %v", got, tc.entry, tc.want)
			}
			if got, want := c.Owns(tc.entry), tc.want != foreign; got != want {
				t.Errorf("Owns(%+v) = %v, want %v", tc.entry, got, want)
			}
		})
	}
}
