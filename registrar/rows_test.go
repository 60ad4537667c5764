package registrar_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// settled is longer than rows take to be in force.
const settled = 21 * time.Second

// on are the needs of a pod with one identity on a node.
func on(node, path string) registrar.Needs {
	w := workload(path, 0)
	return registrar.Needs{Workloads: []registrar.Workload{w}, Identity: registrar.IdentityHash(w.ID), Node: node}
}

// rowID is that of an identity's row of a node; the UID of node a is uid-a.
func rowID(t *testing.T, path, uid string) string {
	return demoCluster(t).NodeRow(registrar.IdentityHash(workload(path, 0).ID), uid).ID
}

func (r *reconciliation) setNode(name, uid string) { r.Changed(r.demand.SetNode(name, uid)...) }

func TestRowOfANode(t *testing.T) {
	c := demoCluster(t)
	e := c.WorkloadEntry(workload("/api", 0))
	row := c.NodeRow(registrar.IdentityHash(e.SPIFFEID), "4f1c-22")
	if row.SPIFFEID != e.ParentID || row.ParentID != c.ServerID() {
		t.Errorf("row %+v, want that it gives the parent of %+v", row, e)
	}
	if want := []registrar.Selector{{Type: "k8s_psat", Value: "agent_node_uid:4f1c-22"}}; !slices.Equal(row.Selectors, want) {
		t.Errorf("selectors %v, want %v alone", row.Selectors, want)
	}
	if want := "spire-injector.demo-cluster.row-gz3xb4wi2hlvcu6k62wiod64ta-4f1c-22"; row.ID != want {
		t.Errorf("entry ID %s, want %s", row.ID, want)
	}
}

// A row comes with the first pod of an identity on a node whose UID is known, and goes with the last one.
func TestDemandPlacesIdentities(t *testing.T) {
	d := registrar.NewDemand(demoCluster(t))
	a, b := rowID(t, "/api", "uid-a"), rowID(t, "/api", "uid-b")
	entry := entryID(t, "/api")
	for i, step := range []struct {
		what    string
		change  func() []string
		changed []string
	}{
		{"a node", func() []string { return d.SetNode("a", "uid-a") }, nil},
		{"a pod without a node", func() []string { return d.Set(pod("1"), on("", "/api")) }, []string{entry}},
		{"it is bound", func() []string { return d.Set(pod("1"), on("a", "/api")) }, []string{a}},
		{"the same again", func() []string { return d.Set(pod("1"), on("a", "/api")) }, nil},
		{"another one there", func() []string { return d.Set(pod("2"), on("a", "/api")) }, nil},
		{"one on a node that nobody knows", func() []string { return d.Set(pod("3"), on("b", "/api")) }, nil},
		{"which comes", func() []string { return d.SetNode("b", "uid-b") }, []string{b}},
		{"and again", func() []string { return d.SetNode("b", "uid-b") }, nil},
		{"the first pod goes", func() []string { return d.Set(pod("1"), registrar.Needs{}) }, nil},
		{"the last one there goes", func() []string { return d.Set(pod("2"), registrar.Needs{}) }, []string{a}},
		{"the node is another one of its name", func() []string { return d.SetNode("b", "uid-c") }, []string{b, rowID(t, "/api", "uid-c")}},
		{"it goes", func() []string { return d.SetNode("b", "") }, []string{rowID(t, "/api", "uid-c")}},
		{"its pod goes", func() []string { return d.Set(pod("3"), registrar.Needs{}) }, []string{entry}},
	} {
		got := step.change()
		slices.Sort(got)
		slices.Sort(step.changed)
		if !slices.Equal(got, step.changed) {
			t.Errorf("%d, %s: changed %v, want %v", i, step.what, got, step.changed)
		}
		// What is said of each entry is what is said of all.
		all := d.All()
		for _, id := range []string{a, b, rowID(t, "/api", "uid-c"), entry} {
			one, ok := d.Of(id)
			if _, there := all[id]; there != ok || ok && one.Entry.ID != id {
				t.Errorf("%d, %s: entry %s is wanted: %t, %t among all", i, step.what, id, ok, there)
			}
		}
		if d.HasNode("uid-a") != true || d.HasNode("") {
			t.Errorf("%d, %s: node a is not known, or one without a UID", i, step.what)
		}
	}
	if n := d.Placements(); n != 0 {
		t.Errorf("%d rows are wanted by nobody", n)
	}
}

// An identity that is only held stays on its nodes.
func TestDemandPlacesWhatIsHeld(t *testing.T) {
	d := registrar.NewDemand(demoCluster(t))
	d.SetNode("a", "uid-a")
	needs := on("a", "/api")
	needs.Held, needs.Workloads = []string{entryID(t, "/api")}, nil
	d.Set(pod("1"), needs)
	w, ok := d.Of(rowID(t, "/api", "uid-a"))
	if !ok || !slices.Equal(w.Owners, []registrar.Owner{pod("1")}) {
		t.Errorf("the row is wanted: %t, by %v; want it by the pod", ok, w.Owners)
	}
	if got := d.RowsOf(registrar.IdentityHash(workload("/api", 0).ID)); len(got) != 1 {
		t.Errorf("rows %v, want one", got)
	}
}

func TestReconcilerPlacesPods(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Grace: 2 * time.Minute, Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		entry, a, b := entryID(t, "/api"), rowID(t, "/api", "uid-a"), rowID(t, "/api", "uid-b")
		r.setNode("a", "uid-a")
		r.setNode("b", "uid-b")
		r.set(pod("1"), on("", "/api"))
		r.start()
		r.wantEntries("before it has a node", entry)
		before := written(r.entry(entry))
		r.set(pod("1"), on("a", "/api"))
		after(soon)
		r.wantEntries("on a", entry, a)
		r.wantReasons(a, reason.RowMissing)
		r.wantCounts("on a", registrar.Counts{
			States: registrar.States{Wanted: 1, Registered: 1}, Rows: registrar.States{Wanted: 1, Registered: 1},
		})
		r.set(pod("2"), on("b", "/api"))
		after(soon)
		r.wantEntries("on both", entry, a, b)
		if got := written(r.entry(entry)); got != before {
			t.Errorf("the workload's entry is %s by rows, want %s as before", got, before)
		}

		// Within the grace period a pod comes back, at the cost of no call.
		r.set(pod("1"), registrar.Needs{})
		after(time.Minute)
		r.set(pod("3"), on("a", "/api"))
		after(3 * time.Minute)
		r.wantEntries("when another one has come", entry, a, b)
		r.set(pod("3"), registrar.Needs{})
		after(soon)
		r.wantCounts("when it is gone", registrar.Counts{
			States: registrar.States{Wanted: 1, Registered: 1}, Rows: registrar.States{Wanted: 1, Registered: 2, Orphaned: 1},
		})
		after(2*time.Minute - time.Second)
		r.wantEntries("within the grace period", entry, a, b)
		after(2 * time.Second)
		r.wantEntries("after the grace period", entry, b)
		if got := r.server.Calls(modify); got != 0 {
			t.Errorf("%d updates, want none: rows never change, and the workload's entry does not for them", got)
		}
	})
}

func written(e *types.Entry) string {
	return fmt.Sprint(e.GetParentId(), e.GetRevisionNumber(), e.GetExpiresAt())
}

// Rows of a node that is gone go at once, whether a pod still says that it is there or not.
func TestReconcilerRemovesRowsOfNodesThatAreGone(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.setNode("a", "uid-a")
		r.set(pod("1"), on("a", "/api"))
		r.set(pod("2"), on("a", "/web"))
		r.start()
		r.set(pod("2"), registrar.Needs{})
		after(soon)
		r.setNode("a", "")
		r.Resync()
		after(soon)
		r.wantEntries("without the node", entryID(t, "/api"), entryID(t, "/web"))
		r.wantReasons(rowID(t, "/api", "uid-a"), reason.RowMissing, reason.NodeGone)
		r.wantReasons(rowID(t, "/web", "uid-a"), reason.RowMissing, reason.NodeGone)
		r.setNode("a", "uid-new")
		after(soon)
		r.wantEntries("with another node of its name", entryID(t, "/api"), entryID(t, "/web"), rowID(t, "/api", "uid-new"))
	})
}

// A row that others delete comes again, and that is told as what it is; one that others change is made again.
func TestReconcilerNoticesLostAndChangedRows(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.setNode("a", "uid-a")
		r.set(pod("1"), on("a", "/api"))
		r.start()
		row := rowID(t, "/api", "uid-a")
		r.server.Delete(row)
		r.Resync()
		after(soon)
		r.wantReasons(row, reason.RowMissing, reason.RowDeletedByOthers)
		drifted := r.entry(row)
		drifted.Selectors[0].Value = "cluster:demo-cluster"
		r.server.Put(drifted)
		r.Resync()
		after(soon)
		r.wantReasons(row, reason.RowMissing, reason.RowDeletedByOthers, reason.RowDrifted, reason.RowMissing)
		if got := r.entry(row).GetSelectors()[0].GetValue(); got != "agent_node_uid:uid-a" {
			t.Errorf("the row selects %s, want the node again", got)
		}
	})
}

// Many pods that are bound at once cost a few calls.
func TestReconcilerPlacesManyAtOnce(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.setNode("a", "uid-a")
		for i := range 100 {
			r.set(pod(fmt.Sprint(i)), on("", fmt.Sprint("/", i)))
		}
		r.start()
		before := r.server.Calls(create)
		for i := range 100 {
			r.set(pod(fmt.Sprint(i)), on("a", fmt.Sprint("/", i)))
		}
		after(soon)
		if got := r.server.Calls(create) - before; got != 1 || len(r.server.Entries()) != 200 {
			t.Errorf("%d calls, %d entries; want one call for 100 rows", got, len(r.server.Entries()))
		}
	})
}

// An installation whose entries hang below the alias of all nodes is moved in steps, each of which leaves every pod its
// identity: all rows, then the entries, then the alias goes. A leader that dies between two calls leaves what the next
// one goes on from.
func TestReconcilerMovesEntriesBelowTheNodeAlias(t *testing.T) {
	c := demoCluster(t)
	old := func(t *testing.T, path string) *types.Entry {
		e := c.WorkloadEntry(workload(path, 0))
		e.ParentID = c.NodeAlias().SPIFFEID
		return protoOf(t, e)
	}
	for name, diesAt := range map[string]string{"one leader": "", "dies creating": create, "dies moving": modify, "dies removing": remove} {
		t.Run(name, func(t *testing.T) {
			options := registrar.ReconcilerOptions{Grace: 5 * time.Minute, Interval: time.Hour}
			reconciling(t, options, func(t *testing.T, r *reconciliation) {
				held := on("b", "/held")
				held.Held, held.Workloads = []string{entryID(t, "/held")}, nil
				r.setNode("a", "uid-a")
				r.setNode("b", "uid-b")
				r.set(pod("1"), on("a", "/api"))
				r.set(pod("2"), on("b", "/api"))
				r.set(pod("3"), held)
				r.server.Put(protoOf(t, c.NodeAlias()))
				for _, path := range []string{"/api", "/held", "/orphaned"} {
					r.server.Put(old(t, path))
				}
				rows := []string{rowID(t, "/api", "uid-a"), rowID(t, "/api", "uid-b"), rowID(t, "/held", "uid-b")}

				dead := false
				r.server.Before(func(_ context.Context, method string) error {
					r.wantNobodyCutOff(rows)
					if dead = dead || method == diesAt; dead {
						return status.Error(codes.Unavailable, "the leader is cut off")
					}
					return nil
				})
				stop := r.start()
				if diesAt != "" {
					after(10 * time.Minute)
					if !dead {
						t.Fatalf("there was no %s", diesAt)
					}
				}
				stop()
				r.server.Before(func(context.Context, string) error {
					r.wantNobodyCutOff(rows)
					return nil
				})
				r.reconcile(options)
				r.start()
				if diesAt == "" || diesAt == create {
					for _, path := range []string{"/api", "/held"} {
						if got, want := r.entry(entryID(t, path)).GetParentId().GetPath(), c.NodeAlias().SPIFFEID.Path(); got != want {
							t.Errorf("%s is below %s before its rows are in force, want %s", path, got, want)
						}
					}
				}
				after(settled + watchful)
				for _, path := range []string{"/api", "/held"} {
					if got, want := r.entry(entryID(t, path)).GetParentId().GetPath(), c.WorkloadEntry(workload(path, 0)).ParentID.Path(); got != want {
						t.Errorf("%s is below %s, want %s", path, got, want)
					}
				}
				after(6 * time.Minute)
				r.wantEntries("in the end", append(rows, entryID(t, "/api"), entryID(t, "/held"))...)
				if got := r.server.Calls(create); diesAt == "" && got != 1 {
					t.Errorf("%d creations, want one of all rows", got)
				}
			})
		})
	}
}

// wantNobodyCutOff fails the test if a workload's entry is below the node alias when that is gone, or below its own path
// while a row is missing.
func (r *reconciliation) wantNobodyCutOff(rows []string) {
	c := demoCluster(r.t)
	there := ids(r.server.Entries())
	for _, e := range r.server.Entries() {
		switch parent := e.GetParentId().GetPath(); {
		case parent == c.NodeAlias().SPIFFEID.Path() && !slices.Contains(there, c.NodeAlias().ID):
			r.t.Errorf("entry %s is below the node alias, which is gone", e.GetId())
		case parent == c.WorkloadEntry(workload(e.GetSpiffeId().GetPath(), 0)).ParentID.Path():
			for _, row := range rows {
				if !slices.Contains(there, row) {
					r.t.Errorf("entry %s was moved, and row %s is not there", e.GetId(), row)
				}
			}
		}
	}
}

// For node attestation without a selector of each node there is one row for all.
func TestReconcilerPlacesOnAllNodes(t *testing.T) {
	c := demoCluster(t)
	c.Scope = registrar.ScopeCluster
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.demand = registrar.NewDemand(c)
		r.Reconciler = registrar.NewReconciler(c, r.client, r.demand, registrar.ReconcilerOptions{Grace: time.Minute})
		r.server.Put(protoOf(t, c.NodeRow("x", "uid-of-a-narrower-scope")))
		r.set(pod("1"), on("a", "/api"))
		r.set(pod("2"), on("", "/api"))
		r.start()
		entry, row := entryID(t, "/api"), c.ClusterRow(registrar.IdentityHash(workload("/api", 0).ID))
		r.wantEntries("within the grace period", entry, row.ID, c.NodeRow("x", "uid-of-a-narrower-scope").ID)
		after(2 * time.Minute)
		r.wantEntries("then", entry, row.ID)
		if got := r.entry(row.ID).GetSelectors()[0].GetValue(); got != "cluster:demo-cluster" {
			t.Errorf("the row selects %s, want all nodes", got)
		}
		r.set(pod("1"), registrar.Needs{})
		r.set(pod("2"), registrar.Needs{})
		after(3 * time.Minute)
		r.wantEntries("without pods")
	})
}

// Whatever the interval, everything is compared twice while a certificate lives, as far as that is not too often: a row
// that is lost is back before.
func TestReconcilerFindsLostRowsBeforeCertificatesExpire(t *testing.T) {
	for ttl, within := range map[time.Duration]time.Duration{10 * time.Second: watchful, time.Minute: 31 * time.Second, time.Hour: 31 * time.Minute} {
		reconciling(t, registrar.ReconcilerOptions{Interval: 2 * time.Hour}, func(t *testing.T, r *reconciliation) {
			r.setNode("a", "uid-a")
			r.set(pod("0"), on("a", "/other"))
			r.start()
			needs := on("a", "/api")
			needs.Workloads[0].X509SVIDTTL = ttl
			r.set(pod("1"), needs) // since the last resync
			after(soon)
			row := rowID(t, "/api", "uid-a")
			for range 2 {
				r.server.Delete(row)
				lost := time.Now()
				for r.entry(row) == nil {
					after(time.Second)
				}
				if took := time.Since(lost); took > within {
					t.Errorf("TTL %s: the row was there again after %s, want within %s", ttl, took, within)
				}
			}
			r.wantReasons(row, reason.RowMissing, reason.RowDeletedByOthers, reason.RowDeletedByOthers)
		})
	}
}

// The rows of a quarantined identity go at once, also those that had no owner any more; when it is taken off the list,
// those that its pods need are there again.
func TestReconcilerParksQuarantinedIdentities(t *testing.T) {
	var quarantined atomic.Bool
	options := registrar.ReconcilerOptions{
		Grace:       10 * time.Minute,
		Interval:    time.Hour,
		Quarantined: func(id spiffeid.ID) bool { return quarantined.Load() && id.Path() == "/api" },
	}
	reconciling(t, options, func(t *testing.T, r *reconciliation) {
		entry, a, b := entryID(t, "/api"), rowID(t, "/api", "uid-a"), rowID(t, "/api", "uid-b")
		others := []string{entryID(t, "/web"), rowID(t, "/web", "uid-a")}
		r.setNode("a", "uid-a")
		r.setNode("b", "uid-b")
		r.set(pod("1"), on("a", "/api"))
		r.set(pod("2"), on("b", "/api"))
		r.set(pod("3"), on("a", "/web"))
		r.start()
		r.set(pod("2"), registrar.Needs{})
		after(soon)
		r.wantEntries("before", append(others, entry, a, b)...)

		quarantined.Store(true)
		r.set(pod("1"), registrar.Needs{Held: []string{entry}})
		r.Resync()
		after(soon)
		r.wantEntries("at once", append(others, entry)...)
		r.wantReasons(b, reason.RowMissing, reason.RowQuarantined)
		r.wantCounts("at once", registrar.Counts{
			States: registrar.States{Wanted: 2, Registered: 2}, Rows: registrar.States{Wanted: 1, Registered: 1},
		})
		after(30 * time.Minute)
		r.wantEntries("after the grace period", append(others, entry)...)

		quarantined.Store(false)
		r.set(pod("1"), on("a", "/api"))
		after(soon)
		r.wantEntries("when it is over", append(others, entry, a)...)
	})
}
