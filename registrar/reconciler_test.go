package registrar_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

const (
	list   = "ListEntries"
	remove = "BatchDeleteEntry"
)

// reconciliation is a reconciler at work against a stand-in of SPIRE.
type reconciliation struct {
	*registrar.Reconciler
	t      *testing.T
	server *spiretest.Server
	demand *registrar.Demand
	client *spireapi.Client

	mu       sync.Mutex
	outcomes []registrar.Outcome
	last     registrar.Pass
}

// newReconciliation prepares one that looks at everything rarely, but for what a test asks for.
func newReconciliation(t *testing.T, o registrar.ReconcilerOptions) *reconciliation {
	t.Helper()
	server, address := serve(t)
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: address, TrustDomain: exampleOrg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	c := demoCluster(t)
	r := &reconciliation{t: t, server: server, demand: registrar.NewDemand(c), client: client}
	r.Reconciler = registrar.NewReconciler(c, client, r.demand, o)
	r.OnOutcome(func(o registrar.Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.outcomes = append(r.outcomes, o)
	})
	r.OnPass(func(p registrar.Pass) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last = p
	})
	return r
}

// start runs it until the end of the test, or stop.
func (r *reconciliation) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (r *reconciliation) set(o registrar.Owner, n registrar.Needs) { r.Changed(r.demand.Set(o, n)...) }

// await returns when a condition holds.
func (r *reconciliation) await(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("waited in vain for %s; entries %v, last pass %+v", what, ids(r.server.Entries()), r.last)
		}
	}
}

func (r *reconciliation) counts() registrar.Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.Counts
}

func (r *reconciliation) has(id string) bool { return slices.Contains(ids(r.server.Entries()), id) }

// reasons lists why entries were changed, in order.
func (r *reconciliation) reasons(id string) []reason.Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []reason.Reason
	for _, o := range r.outcomes {
		if o.ID == id {
			all = append(all, o.Why)
		}
	}
	return all
}

// protoOf is an entry as SPIRE holds it.
func protoOf(t *testing.T, e registrar.Entry) *types.Entry {
	t.Helper()
	server, address := serve(t)
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: address, TrustDomain: exampleOrg})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.CreateEntries(t.Context(), []registrar.Entry{e}); err != nil {
		t.Fatal(err)
	}
	return server.Entries()[0]
}

func entryID(t *testing.T, path string) string {
	return demoCluster(t).WorkloadEntry(workload(path, 0)).ID
}

func TestReconcilerAddsWhatAdmissionMissed(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	r.set(pod("before"), needs(workload("/before", 0)))
	r.start()
	r.await("the entry of a pod from before", func() bool { return r.has(entryID(t, "/before")) && r.has("spire-injector.demo-cluster.node") })
	r.set(pod("later"), needs(workload("/later", 0)))
	r.await("the entry of a later pod", func() bool { return r.has(entryID(t, "/later")) })
	if got := r.server.Calls(list); got != 1 {
		t.Errorf("entries were listed %d times, want once: a change must not cost a look at everything", got)
	}
}

func TestReconcilerMakesNoCallForWhatIsRight(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	r.set(pod("a"), needs(workload("/api", 0)))
	r.start()
	r.await("the entry", func() bool { return r.counts().Registered == 2 })
	before := r.server.Calls(create)
	for i := range 100 {
		r.set(pod(fmt.Sprint("replica-", i)), needs(workload("/api", 0)))
	}
	r.Changed(entryID(t, "/api"))
	r.await("the look", func() bool { return r.Queued() == 0 })
	r.set(pod("b"), needs(workload("/web", 0)))
	r.await("another entry", func() bool { return r.has(entryID(t, "/web")) })
	if got := r.server.Calls(create) - before; got != 1 {
		t.Errorf("%d creations, want 1, of the other entry", got)
	}
}

func TestReconcilerRepairsDriftInPlace(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{Interval: 200 * time.Millisecond})
	r.set(pod("a"), needs(workload("/api", time.Minute)))
	r.start()
	id := entryID(t, "/api")
	r.await("the entry", func() bool { return r.has(id) })
	drifted := r.server.Entries()[1]
	drifted.Admin, drifted.X509SvidTtl = true, 7
	r.server.Put(drifted)
	r.await("the repair", func() bool { e := r.server.Entries()[1]; return !e.GetAdmin() && e.GetX509SvidTtl() == 60 })
	if got := r.server.Calls(create); got != 1 {
		t.Errorf("%d creations, want 1: repair is in place", got)
	}
	if got := r.reasons(id); !slices.Equal(got, []reason.Reason{reason.EntryMissing, reason.EntryDrifted}) {
		t.Errorf("reasons %v", got)
	}
}

func TestReconcilerRemovesAfterTheGraceTime(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{Grace: 2 * time.Second, Interval: 100 * time.Millisecond})
	r.set(pod("a"), needs(workload("/api", 0)))
	r.set(pod("b"), needs(workload("/web", 0)))
	stop := r.start()
	api, web := entryID(t, "/api"), entryID(t, "/web")
	r.await("both entries", func() bool { return r.has(api) && r.has(web) })
	gone := time.Now()
	r.set(pod("a"), registrar.Needs{})
	r.set(pod("b"), registrar.Needs{})
	r.await("the marks", func() bool { return r.counts().Orphaned == 2 })
	stop()

	// The grace time goes on over a restart: what follows knows only what SPIRE holds.
	next := registrar.NewReconciler(demoCluster(t), r.client, r.demand, registrar.ReconcilerOptions{Grace: time.Hour, Interval: 100 * time.Millisecond})
	next.OnOutcome(func(o registrar.Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.outcomes = append(r.outcomes, o)
	})
	r.Reconciler = next
	r.start()
	r.set(pod("c"), needs(workload("/web", 0)))
	r.await("the removal", func() bool { return !r.has(api) })
	if after := time.Since(gone); after < time.Second {
		t.Errorf("removed after %v, before the grace time", after)
	}
	for _, e := range r.server.Entries() {
		if e.GetExpiresAt() != 0 {
			t.Errorf("entry %s, which is needed again, expires at %d", e.GetId(), e.GetExpiresAt())
		}
	}
	if got := r.reasons(web); !slices.Equal(got, []reason.Reason{reason.EntryMissing, reason.EntryOrphaned, reason.EntryNeededAgain}) {
		t.Errorf("reasons of the entry that is needed again: %v", got)
	}
}

func TestReconcilerTouchesNothingOfOthers(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{Grace: time.Second, Interval: 50 * time.Millisecond})
	foreign := []string{"somebody", "demo-cluster.x", "spire-injector.demo-cluster-2.x", "spire-injector.demo-cluster.elsewhere"}
	model := func(id string) *types.Entry {
		e := protoOf(t, demoCluster(t).WorkloadEntry(workload("/"+id, 0)))
		e.Id = id
		return e
	}
	for _, id := range foreign {
		e := model(id)
		if id == "spire-injector.demo-cluster.elsewhere" {
			e.ParentId.Path = "/spire/server"
		}
		r.server.Put(e)
	}
	ours := model("spire-injector.demo-cluster.orphaned")
	r.server.Put(ours)
	r.start()
	r.await("the removal of what is ours", func() bool { return !r.has(ours.GetId()) })
	time.Sleep(200 * time.Millisecond)
	for _, id := range foreign {
		if !r.has(id) {
			t.Errorf("entry %s of others is gone", id)
		}
	}
	if got := r.server.Calls(remove); got != 1 {
		t.Errorf("%d removals, want 1", got)
	}
}

func TestReconcilerNoticesWhatOthersDelete(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{Interval: 100 * time.Millisecond})
	r.set(pod("a"), needs(workload("/api", 0)))
	r.start()
	id := entryID(t, "/api")
	r.await("the entry", func() bool { return r.has(id) })
	for n := range 3 {
		r.server.Delete(id)
		r.await("the repair", func() bool { return r.has(id) })
		if got := r.reasons(id); len(got) != n+2 || got[n+1] != reason.EntryDeletedByOthers {
			t.Fatalf("reasons %v, want one %s more", got, reason.EntryDeletedByOthers)
		}
	}
}

// What the cluster needs may become unknown, and known again: what is there then stays, and what is not there is not made.
func TestReconcilerPauses(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{Interval: 10 * time.Millisecond})
	r.set(pod("there"), needs(workload("/there", 0)))
	r.start()
	r.await("the entry", func() bool { return r.has(entryID(t, "/there")) })
	r.Pause(true)
	time.Sleep(200 * time.Millisecond) // a look that had begun
	r.set(pod("there"), registrar.Needs{})
	r.set(pod("new"), needs(workload("/new", 0)))
	listed := r.server.Calls(list)
	time.Sleep(300 * time.Millisecond)
	if r.has(entryID(t, "/new")) || r.reasons(entryID(t, "/there"))[0] != reason.EntryMissing || len(r.reasons(entryID(t, "/there"))) != 1 || r.server.Calls(list) != listed {
		t.Errorf("entries %v, reasons %v, %d looks, want that nothing is done in a pause", ids(r.server.Entries()), r.reasons(entryID(t, "/there")), r.server.Calls(list)-listed)
	}
	r.Pause(false)
	r.await("what changed meanwhile", func() bool {
		return r.has(entryID(t, "/new")) && slices.Contains(r.reasons(entryID(t, "/there")), reason.EntryOrphaned)
	})
}

func TestReconcilerGoesOnWhenSPIREIsBack(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	var away sync.Map
	away.Store("away", true)
	r.server.Before(func(context.Context, string) error {
		if _, is := away.Load("away"); is {
			return status.Error(codes.Unavailable, "away")
		}
		return nil
	})
	r.set(pod("a"), needs(workload("/a", 0)))
	r.start()
	r.await("a pass that fails", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.last.Err != nil })
	r.set(pod("b"), needs(workload("/b", 0)))
	away.Delete("away")
	r.await("both entries", func() bool { return r.has(entryID(t, "/a")) && r.has(entryID(t, "/b")) })
}

func TestReconcilerFillsAnEmptiedServer(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	const n = 450 // more than two batches
	for i := range n {
		r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/w", i), 0)))
	}
	r.start()
	r.await("all entries", func() bool { return len(r.server.Entries()) == n+1 })
	for _, e := range r.server.Entries() {
		r.server.Delete(e.GetId())
	}
	r.LookAtAll()
	r.await("all entries again", func() bool { return len(r.server.Entries()) == n+1 })
}

func TestReconcilerSaysWhatIsInTheWay(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	e := protoOf(t, demoCluster(t).WorkloadEntry(workload("/api", time.Minute)))
	e.Id = "somebody"
	r.server.Put(e)
	r.set(pod("a"), needs(workload("/api", time.Hour), workload("/web", 0)))
	r.set(pod("b"), needs(workload("/api", time.Second)))
	r.start()
	r.await("the other entry, and what is in the way", func() bool { return r.has(entryID(t, "/web")) && r.counts().Refused == 1 })
	if got := r.reasons("somebody"); !slices.Contains(got, reason.EntryInTheWay) {
		t.Errorf("reasons %v, want %s", got, reason.EntryInTheWay)
	}
}

// SPIRE's authorization policy denies a request for the sake of one entry in it.
func TestReconcilerRegistersTheOthersBesideADeniedOne(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	r.server.Refuse(func(req any) error {
		if create, ok := req.(*entryv1.BatchCreateEntryRequest); ok && slices.ContainsFunc(create.GetEntries(), (*types.Entry).GetAdmin) {
			return status.Error(codes.PermissionDenied, "denied by policy")
		}
		return nil
	})
	admin := workload("/admin", 0)
	admin.Admin = true
	r.set(pod("admin"), needs(admin))
	for i := range 5 {
		r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/", i), 0)))
	}
	r.start()
	r.await("the others", func() bool { return len(r.server.Entries()) == 6 && r.counts().Refused == 1 })
	if r.last.Err != nil {
		t.Errorf("the look ended early: %v", r.last.Err)
	}
}

// A path that the policy does not allow, or no longer, is found among many.
func TestReconcilerRegistersTheOthersBesideDeniedPaths(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	r.server.Refuse(func(req any) error {
		denied := func(e *types.Entry) bool { return strings.HasPrefix(e.GetSpiffeId().GetPath(), "/denied") }
		late := func(e *types.Entry) bool { return e.GetId() == entryID(t, "/7") }
		create, creates := req.(*entryv1.BatchCreateEntryRequest)
		update, updates := req.(*entryv1.BatchUpdateEntryRequest)
		if creates && slices.ContainsFunc(create.GetEntries(), denied) || updates && slices.ContainsFunc(update.GetEntries(), late) {
			return status.Error(codes.PermissionDenied, "denied by policy")
		}
		return nil
	})
	const n = 50
	for i := range n {
		r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/", i), 0)))
	}
	for i := range 3 {
		r.set(pod(fmt.Sprint("denied", i)), needs(workload(fmt.Sprint("/denied", i), 0)))
	}
	r.start()
	r.await("the others", func() bool { return len(r.server.Entries()) == n+1 && r.counts().Refused == 3 })
	if r.last.Err != nil {
		t.Errorf("the look ended early: %v", r.last.Err)
	}
	if calls := r.server.Calls("BatchCreateEntry"); calls > 45 {
		t.Errorf("%d calls, want a few for each that is denied", calls)
	}

	for i := range n {
		r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/", i), time.Hour)))
	}
	r.LookAtAll()
	r.await("the others with the new TTL", func() bool {
		with := 0
		for _, e := range r.server.Entries() {
			if e.GetX509SvidTtl() == 3600 {
				with++
			}
		}
		return with == n-1 && r.counts().Refused == 4
	})
}

func TestReconcilerAddsAFederatedDomainWhenItsBundleComes(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{Interval: 100 * time.Millisecond})
	auxiliary := spiffeid.RequireTrustDomainFromString("auxiliary.org")
	w := workload("/api", 0)
	w.FederatesWith = []spiffeid.TrustDomain{auxiliary}
	r.set(pod("a"), needs(w))
	r.start()
	r.await("the entry without the domain", func() bool { return r.has(entryID(t, "/api")) && r.counts().WithoutBundle == 1 })
	r.server.PutBundle(&types.Bundle{TrustDomain: auxiliary.Name()})
	r.await("the domain", func() bool {
		return len(r.server.Entries()[1].GetFederatesWith()) == 1 && r.counts().WithoutBundle == 0
	})
}

func TestPlanChangesNothing(t *testing.T) {
	r := newReconciliation(t, registrar.ReconcilerOptions{})
	r.set(pod("a"), needs(workload("/api", 0)))
	steps, err := r.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || len(r.server.Entries()) != 0 {
		t.Errorf("%d steps, %d entries; want the alias and the entry to be created, and nothing there", len(steps), len(r.server.Entries()))
	}
}
