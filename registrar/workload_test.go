package registrar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/spire-injector/spire-injector/registrar"
)

// The hashes stand in running pods' labels and in SPIRE's database: a release that computes others cuts every
// running workload off.
func TestHashesNeverChange(t *testing.T) {
	w := workload("/api", 0)
	if got, want := registrar.IdentityHash(w.ID), "gz3xb4wi2hlvcu6k62wiod64ta"; got != want {
		t.Errorf("identity hash %q, want %q", got, want)
	}
	if got, want := demoCluster(t).WorkloadEntry(w).ID, "spire-injector.demo-cluster.xh6xhya3vggavgfajbzwfkqtym"; got != want {
		t.Errorf("entry ID %q, want %q", got, want)
	}
}

func TestIdentityHashIsALabelValue(t *testing.T) {
	seen := map[string]string{}
	for _, path := range []string{"/a", "/b", "/ns/prod/sa/x", "/ns/prod/sa/X", "/" + strings.Repeat("long/", 300) + "x"} {
		hash := registrar.IdentityHash(spiffeid.RequireFromPath(exampleOrg, path))
		if errs := validation.IsValidLabelValue(hash); errs != nil {
			t.Errorf("hash %q of %s: %v", hash, path, errs)
		}
		if bits := len(hash) * 5; bits < 128 {
			t.Errorf("hash %q has %d bits at most, want 128", hash, bits)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have one hash", path, other)
		}
		seen[hash] = path
	}
}

func TestWorkloadEntry(t *testing.T) {
	c := demoCluster(t)
	got := c.WorkloadEntry(workload("/api", 30*time.Second))
	want := registrar.Entry{
		ID:       "spire-injector.demo-cluster.xh6xhya3vggavgfajbzwfkqtym",
		SPIFFEID: spiffeid.RequireFromString("spiffe://example.org/api"),
		ParentID: spiffeid.RequireFromString("spiffe://example.org/spire-injector/demo-cluster/id/gz3xb4wi2hlvcu6k62wiod64ta"),
		Selectors: []registrar.Selector{
			{Type: "k8s", Value: "container-name:envoy"},
			{Type: "k8s", Value: "ns:demo"},
			{Type: "k8s", Value: "pod-label:spiffe.io/identity:gz3xb4wi2hlvcu6k62wiod64ta"},
			{Type: "k8s", Value: "sa:default"},
		},
		Attributes: registrar.Attributes{X509SVIDTTL: 30 * time.Second},
	}
	if diff := cmp.Diff(want, got, entryComparer); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}

	// Everything that separates workloads separates their entries; attributes do not.
	ids := map[string]registrar.Workload{}
	for _, w := range []registrar.Workload{
		workload("/api", 0),
		workload("/web", 0),
		{ID: workload("/api", 0).ID, Namespace: "demo2", ServiceAccount: "default"},
		{ID: workload("/api", 0).ID, Namespace: "demo", ServiceAccount: "other"},
		{ID: workload("/api", 0).ID, Namespace: "demod", ServiceAccount: "efault"},
	} {
		id := c.WorkloadEntry(w).ID
		if other, ok := ids[id]; ok {
			t.Errorf("%+v and %+v have one entry ID", w, other)
		}
		ids[id] = w
	}
	if a, b := c.WorkloadEntry(workload("/api", 0)).ID, got.ID; a != b {
		t.Errorf("the TTL changes the entry ID: %q and %q", a, b)
	}
}

func TestCheck(t *testing.T) {
	c := demoCluster(t)
	for name, tc := range map[string]struct {
		change func(*registrar.Workload)
		want   []string
	}{
		"good":                 {change: func(*registrar.Workload) {}},
		"like a reserved path": {change: func(w *registrar.Workload) { w.ID = workload("/spires/x", 0).ID }},
		"no SPIFFE ID":         {change: func(w *registrar.Workload) { w.ID = spiffeid.ID{} }, want: []string{"no SPIFFE ID"}},
		"no path":              {change: func(w *registrar.Workload) { w.ID = exampleOrg.ID() }, want: []string{`SPIFFE ID "spiffe://example.org": expected one with a path`}},
		"foreign": {
			change: func(w *registrar.Workload) { w.ID = spiffeid.RequireFromString("spiffe://other.org/api") },
			want:   []string{`SPIFFE ID "spiffe://other.org/api": expected one of trust domain "example.org"`},
		},
		"SPIRE's own":   {change: func(w *registrar.Workload) { w.ID = workload("/spire/server", 0).ID }, want: []string{"paths below /spire/ and /spire-injector/ are reserved"}},
		"the alias' ID": {change: func(w *registrar.Workload) { w.ID = c.NodeAlias().SPIFFEID }, want: []string{"are reserved"}},
		// Authorization is transitive: who had this ID would place what another identity has.
		"an alias path": {
			change: func(w *registrar.Workload) { w.ID = c.AliasPath(registrar.IdentityHash(workload("/web", 0).ID)) },
			want:   []string{"are reserved"},
		},
		"everything at once": {
			change: func(w *registrar.Workload) {
				*w = registrar.Workload{ID: workload("/spire/x", 0).ID, Attributes: registrar.Attributes{X509SVIDTTL: 1500 * time.Millisecond}}
			},
			want: []string{"are reserved", "no namespace", "no service account", "X.509-SVID TTL 1.5s: expected whole seconds"},
		},
		"names that nobody can have": {
			change: func(w *registrar.Workload) { w.Namespace, w.ServiceAccount = "a.b", "no such\naccount:x" },
			want:   []string{`namespace "a.b": expected the name`, `service account "no such\naccount:x": expected the name`},
		},
		"negative TTL": {change: func(w *registrar.Workload) { w.X509SVIDTTL = -time.Second }, want: []string{"TTL -1s: expected whole seconds, at least 1s"}},
		"endless TTL":  {change: func(w *registrar.Workload) { w.X509SVIDTTL = 1 << 31 * time.Second }, want: []string{"expected whole seconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := workload("/api", 0)
			tc.change(&w)
			err := c.Check(w)
			if len(tc.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
		})
	}
}
