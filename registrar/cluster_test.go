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

func TestOwns(t *testing.T) {
	c := demoCluster(t)
	longer, err := registrar.NewCluster("demo-cluster.b", exampleOrg)
	if err != nil {
		t.Fatal(err)
	}
	workloadEntry := c.WorkloadEntry(workload("/api", 0))
	change := func(e registrar.Entry, f func(*registrar.Entry)) registrar.Entry {
		f(&e)
		return e
	}
	for name, tc := range map[string]struct {
		entry registrar.Entry
		want  bool
	}{
		"alias":                              {c.NodeAlias(), true},
		"alias with other selectors":         {change(c.NodeAlias(), func(e *registrar.Entry) { e.Selectors = nil }), true},
		"alias' ID, another SPIFFE ID":       {change(c.NodeAlias(), func(e *registrar.Entry) { e.SPIFFEID = workloadEntry.SPIFFEID }), false},
		"alias' content under another ID":    {change(c.NodeAlias(), func(e *registrar.Entry) { e.ID = "x" }), false},
		"workload":                           {workloadEntry, true},
		"our prefix, another parent":         {change(workloadEntry, func(e *registrar.Entry) { e.ParentID = c.ServerID() }), false},
		"our parent, another prefix":         {change(workloadEntry, func(e *registrar.Entry) { e.ID = "demo-cluster.x" }), false},
		"a cluster whose name starts alike":  {longer.WorkloadEntry(workload("/api", 0)), false},
		"the alias of such a cluster":        {longer.NodeAlias(), false},
		"an entry with nothing of ours":      {registrar.Entry{ID: "f7a1", SPIFFEID: workloadEntry.SPIFFEID}, false},
		"our prefix without the dot, parent": {change(workloadEntry, func(e *registrar.Entry) { e.ID = "spire-injector.demo-cluster2.x" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.Owns(tc.entry); got != tc.want {
				t.Errorf("Owns(%+v) = %v, want %v", tc.entry, got, tc.want)
			}
		})
	}
}
