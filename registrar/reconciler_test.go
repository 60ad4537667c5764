package registrar_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// The reconciler's own times, as what is seen of it from outside.
const (
	// soon is longer than changes are collected, and shorter than any retry.
	soon = 100 * time.Millisecond
	// retried is longer than the longest wait before another try.
	retried = 11 * time.Second
	// watchful is longer than the short interval.
	watchful = 17 * time.Second
)

// reconciliation is a reconciler at work against a stand-in of SPIRE, in a bubble of time of its own.
type reconciliation struct {
	*registrar.Reconciler
	t      *testing.T
	server *spiretest.Server
	demand *registrar.Demand
	client *spireapi.Client

	mu       sync.Mutex
	outcomes []registrar.Outcome
	passes   []registrar.Pass
}

// reconciling runs a test of a reconciler that has not begun.
func reconciling(t *testing.T, o registrar.ReconcilerOptions, test func(*testing.T, *reconciliation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, client := inMemory(t)
		r := &reconciliation{t: t, server: server, demand: registrar.NewDemand(demoCluster(t)), client: client}
		r.reconcile(o)
		test(t, r)
	})
}

// inMemory is a stand-in of SPIRE, and a client of it.
func inMemory(t *testing.T) (*spiretest.Server, *spireapi.Client) {
	t.Helper()
	server := spiretest.NewServer(exampleOrg)
	connect, _ := server.ServePipe(t)
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: "unix:///in/memory", TrustDomain: exampleOrg, Connect: connect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

// reconcile makes a reconciler that knows nothing of the one before.
func (r *reconciliation) reconcile(o registrar.ReconcilerOptions) {
	r.Reconciler = registrar.NewReconciler(demoCluster(r.t), r.client, r.demand, o)
	r.OnOutcome(func(o registrar.Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.outcomes = append(r.outcomes, o)
	})
	r.OnPass(func(p registrar.Pass) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.passes = append(r.passes, p)
	})
}

// start runs it until the end of the test, or stop, and lets it do what there is to do.
func (r *reconciliation) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	after(soon)
	return func() {
		cancel()
		<-ended
	}
}

// after lets time pass, and everything happen that does by then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *reconciliation) set(o registrar.Owner, n registrar.Needs) { r.Changed(r.demand.Set(o, n)...) }

func (r *reconciliation) last() registrar.Pass {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.passes) == 0 {
		r.t.Fatal("there was no pass")
	}
	return r.passes[len(r.passes)-1]
}

// resyncs are how many of the passes were full.
func (r *reconciliation) resyncs() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.passes {
		if p.Full {
			n++
		}
	}
	return n
}

// wantEntries fails the test unless SPIRE holds just these.
func (r *reconciliation) wantEntries(when string, want ...string) {
	r.t.Helper()
	got := ids(r.server.Entries())
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: entries %v, want %v", when, got, want)
	}
}

func (r *reconciliation) wantCounts(when string, want registrar.Counts) {
	r.t.Helper()
	if got := r.last().Counts; got != want {
		r.t.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

// wantReasons fails the test unless an entry was changed for these, in order.
func (r *reconciliation) wantReasons(id string, want ...reason.Reason) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []reason.Reason
	for _, o := range r.outcomes {
		if o.ID == id {
			got = append(got, o.Why)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("entry %s: reasons %v, want %v", id, got, want)
	}
}

func (r *reconciliation) entry(id string) *types.Entry {
	for _, e := range r.server.Entries() {
		if e.GetId() == id {
			return e
		}
	}
	return nil
}

// protoOf is an entry as SPIRE holds it.
func protoOf(t *testing.T, e registrar.Entry) *types.Entry {
	t.Helper()
	server, client := inMemory(t)
	if _, err := client.CreateEntries(t.Context(), []registrar.Entry{e}); err != nil {
		t.Fatal(err)
	}
	return server.Entries()[0]
}

func entryID(t *testing.T, path string) string {
	return demoCluster(t).WorkloadEntry(workload(path, 0)).ID
}

func TestReconcilerAddsWhatAdmissionMissed(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.set(pod("before"), needs(workload("/before", 0)))
		r.start()
		r.wantEntries("at first", entryID(t, "/before"))
		r.wantCounts("at first", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}})
		r.set(pod("later"), needs(workload("/later", 0)))
		after(soon)
		r.wantEntries("after a change", entryID(t, "/before"), entryID(t, "/later"))
		r.wantReasons(entryID(t, "/later"), reason.EntryMissing)
		if got := r.resyncs(); got != 1 || r.last().Full {
			t.Errorf("%d resyncs, the last pass %+v; want one: a change must not cost another", got, r.last())
		}
	})
}

func TestReconcilerMakesNoCallForWhatIsRight(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", 0)))
		r.start()
		before := r.server.Calls(create)
		for i := range 100 {
			r.set(pod(fmt.Sprint("replica-", i)), needs(workload("/api", 0)))
		}
		r.Changed()
		if got := r.Queued(); got != 0 {
			t.Errorf("%d entries are queued, want none: nothing is wanted otherwise", got)
		}
		r.Changed(entryID(t, "/api"))
		if got := r.Queued(); got != 1 {
			t.Errorf("%d entries are queued, want 1", got)
		}
		after(soon)
		if got := r.Queued(); got != 0 {
			t.Errorf("%d entries are queued still", got)
		}
		r.set(pod("b"), needs(workload("/web", 0)))
		after(soon)
		if got := r.server.Calls(create) - before; got != 1 {
			t.Errorf("%d creations, want 1, of the other entry", got)
		}
	})
}

// Changes are collected, so that many cost one call.
func TestReconcilerCollectsChanges(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.start()
		before := r.server.Calls(create)
		for i := range 20 {
			r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/", i), 0)))
			time.Sleep(time.Millisecond / 4)
		}
		after(soon)
		if got := r.server.Calls(create) - before; got != 1 || len(r.server.Entries()) != 20 {
			t.Errorf("%d creations of %d entries, want one call for 20", got, len(r.server.Entries()))
		}
	})
}

func TestReconcilerResyncsAtItsInterval(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.start()
		for n := range 5 {
			if got := r.resyncs(); got != n+1 {
				t.Fatalf("%d resyncs, want %d", got, n+1)
			}
			last := time.Now()
			for r.resyncs() == n+1 {
				after(time.Second)
			}
			if took := time.Since(last); took < 53*time.Minute || took > 67*time.Minute {
				t.Errorf("a resync after %v, want an hour, give or take a tenth", took)
			}
		}
	})
	// By default it is five minutes.
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.start()
		after(time.Hour)
		if got := r.resyncs(); got < 11 || got > 14 {
			t.Errorf("%d resyncs in an hour, want one every five minutes", got)
		}
	})
}

func TestReconcilerRepairsDriftInPlace(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Minute}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", time.Minute)))
		r.start()
		id := entryID(t, "/api")
		drifted := r.entry(id)
		drifted.Admin, drifted.X509SvidTtl = true, 7
		r.server.Put(drifted)
		after(70 * time.Second)
		if e := r.entry(id); e.GetAdmin() || e.GetX509SvidTtl() != 60 {
			t.Errorf("entry %v, want it repaired", e)
		}
		if got := r.server.Calls(create); got != 1 {
			t.Errorf("%d creations, want 1: repair is in place", got)
		}
		r.wantReasons(id, reason.EntryMissing, reason.EntryDrifted)
	})
}

// No entry is removed before its grace period is over, which goes on over a restart, and it is removed soon after.
func TestReconcilerRemovesAfterTheGracePeriod(t *testing.T) {
	const grace = 2 * time.Minute
	reconciling(t, registrar.ReconcilerOptions{Grace: grace, Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		time.Sleep(700 * time.Millisecond) // SPIRE keeps expiries to the second
		r.set(pod("a"), needs(workload("/api", 0)))
		r.set(pod("b"), needs(workload("/web", 0)))
		stop := r.start()
		api, web := entryID(t, "/api"), entryID(t, "/web")
		r.set(pod("a"), registrar.Needs{})
		r.set(pod("b"), registrar.Needs{})
		after(soon)
		orphaned := time.Now()
		r.wantCounts("without owners", registrar.Counts{States: registrar.States{Registered: 2, Orphaned: 2}})
		stop()

		// What follows knows only what SPIRE holds.
		r.reconcile(registrar.ReconcilerOptions{Grace: time.Hour, Interval: time.Hour})
		r.start()
		r.set(pod("c"), needs(workload("/web", 0)))
		after(soon)
		time.Sleep(grace - time.Since(orphaned) - soon)
		synctest.Wait()
		r.wantEntries("until the grace period ends", api, web)
		after(soon + time.Second)
		r.wantEntries("after the grace period", web)
		if at := r.entry(web).GetExpiresAt(); at != 0 {
			t.Errorf("the entry that is needed again expires at %d", at)
		}
		r.wantReasons(api, reason.EntryMissing, reason.EntryOrphaned, reason.EntryExpired)
		r.wantReasons(web, reason.EntryMissing, reason.EntryOrphaned, reason.EntryNeededAgain)
		r.wantCounts("after the grace period", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}})
	})
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", 0)))
		r.start()
		r.set(pod("a"), registrar.Needs{})
		after(soon)
		if at := time.Unix(r.entry(entryID(t, "/api")).GetExpiresAt(), 0); time.Until(at) < 9*time.Minute || time.Until(at) > 11*time.Minute {
			t.Errorf("by default an entry stays until %v, want ten minutes from %v", at, time.Now())
		}
	})
}

// A resync between an admission and its pod leaves the new entry as it is: each of two updates, of which the second takes
// the first one back, would have agents sign again. An admission that no pod follows leaves nothing all the same.
func TestReconcilerWaitsForThePodsOfNewEntries(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Grace: time.Minute, Interval: time.Minute}, func(t *testing.T, r *reconciliation) {
		r.start()
		api, forgotten := workload("/api", 0), workload("/forgotten", 0)
		entries := []registrar.Entry{demoCluster(t).WorkloadEntry(api), demoCluster(t).WorkloadEntry(forgotten)}
		if _, err := r.client.CreateEntries(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
		r.Resync()
		after(soon)
		r.set(pod("a"), needs(api))
		after(soon)
		if got := r.server.Calls("BatchUpdateEntry"); got != 0 || r.resyncs() != 2 {
			t.Errorf("%d updates, %d resyncs; want no update by the second resync", got, r.resyncs())
		}
		after(4 * time.Minute)
		r.wantEntries("after the grace period", entries[0].ID)
		r.wantReasons(entries[0].ID)
		r.wantReasons(entries[1].ID, reason.EntryOrphaned, reason.EntryExpired)
	})
}

// Each entry goes when its own grace period is over, not with the last one, nor with the next resync.
func TestReconcilerRemovesEachAtItsTime(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		paths := []string{"/0", "/1", "/2"}
		for i, path := range paths {
			expiring := protoOf(t, demoCluster(t).WorkloadEntry(workload(path, 0)))
			expiring.ExpiresAt = time.Now().Add(time.Duration(i+1) * 5 * time.Minute).Unix()
			r.server.Put(expiring)
		}
		r.start()
		for i := range paths {
			after(5*time.Minute - time.Second)
			if r.entry(entryID(t, paths[i])) == nil {
				t.Errorf("%s is gone before its time", paths[i])
			}
			after(time.Second)
			if r.entry(entryID(t, paths[i])) != nil {
				t.Errorf("%s is there after its time", paths[i])
			}
		}
		r.wantEntries("in the end")
	})
}

// SPIRE removes what has expired by itself: that is not a deletion by others, however it is found.
func TestReconcilerExpectsWhatExpires(t *testing.T) {
	for name, found := range map[string]func(*reconciliation){
		"by a resync": func(r *reconciliation) {
			r.Pause(true)
			r.set(pod("b"), needs(workload("/api", 0)))
			r.Pause(false)
		},
		"by an update": func(r *reconciliation) { r.set(pod("b"), needs(workload("/api", 0))) },
	} {
		reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
			id := entryID(t, "/api")
			r.set(pod("a"), needs(workload("/api", 0)))
			r.start()
			r.set(pod("a"), registrar.Needs{})
			after(soon)
			r.server.Delete(id)
			found(r)
			after(2 * soon)
			r.wantEntries(name, id)
			for _, o := range r.outcomes {
				if o.Why == reason.EntryDeletedByOthers {
					t.Errorf("%s: %+v, want that nobody deleted it", name, o)
				}
			}
		})
	}
}

// An entry is removed only by a fresh list: what was seen last may have an owner of another replica's by now.
func TestReconcilerRemovesNothingForAChange(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		expiring := protoOf(t, demoCluster(t).WorkloadEntry(workload("/api", 0)))
		expiring.ExpiresAt = time.Now().Add(5 * time.Second).Unix()
		r.server.Put(expiring)
		r.start()
		after(10 * time.Second)
		r.Changed(expiring.GetId())
		after(soon)
		if r.last().Full || r.server.Calls(remove) != 0 {
			t.Errorf("after pass %+v: %d removals, want none", r.last(), r.server.Calls(remove))
		}
		after(6 * time.Second)
		r.wantEntries("after the next resync")
	})
}

func TestReconcilerTouchesNothingOfOthers(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Grace: time.Second, Interval: time.Minute}, func(t *testing.T, r *reconciliation) {
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
			e.ExpiresAt = 1 // whoever has an expiry is not ours by that
			r.server.Put(e)
		}
		r.server.Put(model("spire-injector.demo-cluster.orphaned"))
		r.start()
		after(5 * time.Minute)
		r.wantEntries("when what is ours is gone", foreign...)
		if got := r.server.Calls(remove); got != 1 {
			t.Errorf("%d removals, want 1", got)
		}
		if got := r.server.Calls(modify); got != 1 {
			t.Errorf("%d updates, want 1", got)
		}
		r.wantCounts("when what is ours is gone", registrar.Counts{})
	})
}

// What others delete comes again at the next resync, and the next few come soon.
func TestReconcilerNoticesWhatOthersDelete(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", 0)))
		r.start()
		id := entryID(t, "/api")
		r.server.Delete(id)
		for start := time.Now(); r.entry(id) == nil; after(time.Second) {
			if time.Since(start) > 67*time.Minute {
				t.Fatal("the entry is not there again after an interval")
			}
		}
		r.wantReasons(id, reason.EntryMissing, reason.EntryDeletedByOthers)
		for n := range 3 {
			r.server.Delete(id)
			after(watchful)
			if r.entry(id) == nil {
				t.Fatalf("deletion %d: the entry is not there again", n)
			}
		}
		r.wantReasons(id, reason.EntryMissing, reason.EntryDeletedByOthers, reason.EntryDeletedByOthers, reason.EntryDeletedByOthers, reason.EntryDeletedByOthers)

		// When nobody has deleted any for ten minutes, the interval is the ordinary one again.
		after(11 * time.Minute)
		before := r.resyncs()
		after(50 * time.Minute)
		if got := r.resyncs() - before; got > 1 {
			t.Errorf("%d resyncs in the hour after, want one at most", got)
		}
	})
}

// An entry that an update does not find was deleted by others too.
func TestReconcilerNoticesADeletionWhenItUpdates(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", time.Hour)))
		r.start()
		id := entryID(t, "/api")
		r.server.Delete(id)
		r.set(pod("a"), needs(workload("/api", time.Minute)))
		after(2 * soon)
		if e := r.entry(id); e.GetX509SvidTtl() != 60 {
			t.Errorf("entry %v, want it again", e)
		}
		r.wantReasons(id, reason.EntryMissing, reason.EntryDrifted, reason.EntryDeletedByOthers)
		for _, o := range r.outcomes {
			if o.Err != nil && o.Entry.SPIFFEID.Path() != "/api" {
				t.Errorf("an update that failed is of %+v, want the entry that was to be", o.Entry)
			}
		}
		r.wantCounts("then", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}})
	})
}

// What the cluster needs may become unknown, and known again: what is there then stays, and what is not there is not
// made.
func TestReconcilerPauses(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Minute}, func(t *testing.T, r *reconciliation) {
		there, created := entryID(t, "/there"), entryID(t, "/new")
		r.set(pod("there"), needs(workload("/there", 0)))
		r.start()
		r.Pause(true)
		r.set(pod("there"), registrar.Needs{})
		r.set(pod("new"), needs(workload("/new", 0)))
		passes := len(r.passes)
		after(time.Hour)
		r.wantEntries("in a pause", there)
		r.wantReasons(there, reason.EntryMissing)
		if got := len(r.passes); got != passes {
			t.Errorf("%d passes in a pause, want none", got-passes)
		}
		r.Pause(false)
		after(soon)
		r.wantEntries("after the pause", there, created)
		r.wantReasons(there, reason.EntryMissing, reason.EntryOrphaned)
	})
}

// The end of a pause is a resync, of what others did meanwhile as well; it is not one if there was no pause.
func TestReconcilerResyncsAfterAPause(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", 0)))
		r.start()
		r.Pause(false)
		after(time.Minute)
		if got := r.resyncs(); got != 1 {
			t.Errorf("%d resyncs without a pause, want the first one", got)
		}
		r.Pause(true)
		r.server.Delete(entryID(t, "/api"))
		after(time.Minute)
		r.Pause(false)
		after(soon)
		r.wantEntries("after the pause", entryID(t, "/api"))
		if got := r.resyncs(); got != 2 {
			t.Errorf("%d resyncs, want one after the pause", got)
		}
	})
}

func TestReconcilerBeginsInAPause(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.Pause(true)
		r.set(pod("a"), needs(workload("/api", 0)))
		r.start()
		after(time.Hour)
		if got := r.server.Calls(list) + r.server.Calls(create); got != 0 {
			t.Errorf("%d calls in a pause, want none", got)
		}
		r.Pause(false)
		after(soon)
		r.wantEntries("after the pause", entryID(t, "/api"))
	})
}

// away lets every call fail until it is set to false.
func (r *reconciliation) away() *atomic.Bool {
	var away atomic.Bool
	away.Store(true)
	r.server.Before(func(context.Context, string) error {
		if away.Load() {
			return status.Error(codes.Unavailable, "away")
		}
		return nil
	})
	return &away
}

func TestReconcilerGoesOnWhenSPIREIsBack(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		away := r.away()
		r.set(pod("a"), needs(workload("/a", 0)))
		r.start()
		if err := r.last().Err; err == nil {
			t.Fatal("the first pass succeeded, want that SPIRE is away")
		}
		r.set(pod("b"), needs(workload("/b", 0)))
		after(time.Minute)
		away.Store(false)
		after(retried)
		r.wantEntries("when SPIRE is back", entryID(t, "/a"), entryID(t, "/b"))

		// And again, after it had been there: a change that it missed, and what it lost meanwhile.
		away.Store(true)
		r.set(pod("c"), needs(workload("/c", 0)))
		after(time.Minute)
		r.server.Delete(entryID(t, "/a"))
		away.Store(false)
		after(retried)
		r.wantEntries("when SPIRE is back again", entryID(t, "/a"), entryID(t, "/b"), entryID(t, "/c"))
		if err := r.last().Err; err != nil {
			t.Errorf("the last pass: %v", err)
		}
	})
}

// While SPIRE is away it is asked more and more rarely, whatever changes; a call from outside that it is back comes
// through.
func TestReconcilerSparesAServerThatIsAway(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.start()
		away := r.away()
		r.Resync()
		for i := range 600 {
			r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/", i), 0)))
			after(time.Second)
		}
		if got := len(r.passes); got < 50 || got > 75 {
			t.Errorf("%d passes in ten minutes, want one every ten seconds", got)
		}
		away.Store(false)
		r.Resync()
		after(soon)
		if err := r.last().Err; err != nil || len(r.server.Entries()) != 600 {
			t.Errorf("at once when it is back: %d entries, %v", len(r.server.Entries()), err)
		}

		// The next failure begins with a short wait again.
		after(time.Minute)
		away.Store(true)
		r.Resync()
		after(soon)
		away.Store(false)
		passes := len(r.passes)
		after(time.Second)
		if len(r.passes) == passes || r.last().Err != nil {
			t.Error("the first retry of a new failure was not after half a second")
		}
	})
}

func TestReconcilerFillsAnEmptiedServer(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		const n = 450 // more than two batches
		for i := range n {
			r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/w", i), 0)))
		}
		r.start()
		if got := len(r.server.Entries()); got != n || r.server.Calls(create) != 3 {
			t.Errorf("%d entries by %d calls, want all by three", got, r.server.Calls(create))
		}
		for _, e := range r.server.Entries() {
			r.server.Delete(e.GetId())
		}
		r.Resync()
		after(soon)
		if got := len(r.server.Entries()); got != n {
			t.Errorf("%d entries, want all again", got)
		}
	})
}

func TestReconcilerSaysWhatIsInTheWay(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		e := protoOf(t, demoCluster(t).WorkloadEntry(workload("/api", time.Minute)))
		e.Id = "somebody"
		r.server.Put(e)
		r.set(pod("a"), needs(workload("/api", time.Hour), workload("/web", 0)))
		r.set(pod("b"), needs(workload("/api", time.Second)))
		r.start()
		r.wantEntries("beside what is in the way", entryID(t, "/web"), "somebody")
		r.wantReasons("somebody", reason.EntryInTheWay)
		r.wantCounts("beside what is in the way", registrar.Counts{States: registrar.States{Wanted: 2, Registered: 1, Refused: 1}})
		r.set(pod("b"), registrar.Needs{})
		after(soon)
		r.wantCounts("when it serves", registrar.Counts{States: registrar.States{Wanted: 2, Registered: 1}})
	})
}

// What came into the place of an entry since the last list is found by SPIRE's answer to its creation.
func TestReconcilerFindsWhatIsThereWhenItCreates(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		r.start()
		theirs := protoOf(t, demoCluster(t).WorkloadEntry(workload("/theirs", time.Hour)))
		theirs.Id = "somebody"
		r.server.Put(theirs)
		ours := protoOf(t, demoCluster(t).WorkloadEntry(workload("/ours", time.Hour)))
		r.server.Put(ours)
		r.server.Before(func(_ context.Context, method string) error {
			if method == modify {
				return status.Error(codes.Unavailable, "restarting")
			}
			return nil
		})
		r.set(pod("a"), needs(workload("/theirs", time.Minute)))
		after(soon)
		r.wantReasons("somebody", reason.EntryInTheWay)
		r.set(pod("b"), needs(workload("/ours", time.Minute)))
		after(soon)
		if kind := registrar.KindOf(r.last().Err); r.last().Err == nil || kind != registrar.Unavailable {
			t.Errorf("the pass ended with %v, want that SPIRE is away", r.last().Err)
		}
		r.server.Before(nil)
		after(time.Second)
		if got := r.entry(ours.GetId()).GetX509SvidTtl(); got != 60 {
			t.Errorf("TTL %d when SPIRE is back, want 60", got)
		}
	})
}

// SPIRE's authorization policy denies a request for the sake of one entry in it.
func TestReconcilerRegistersTheOthersBesideADeniedOne(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
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
		r.wantCounts("beside a denied one", registrar.Counts{States: registrar.States{Wanted: 6, Registered: 5, Missing: 1, Refused: 1}, PendingPods: 1})
		if err := r.last().Err; err != nil || len(r.server.Entries()) != 5 {
			t.Errorf("%d entries, and the pass ended early: %v", len(r.server.Entries()), err)
		}
		r.set(pod("admin"), registrar.Needs{})
		after(soon)
		r.wantCounts("when it is not wanted", registrar.Counts{States: registrar.States{Wanted: 5, Registered: 5}})
	})
}

// A path that the policy does not allow, or no longer, is found among many.
func TestReconcilerRegistersTheOthersBesideDeniedPaths(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		late := entryID(t, "/7")
		r.server.Refuse(func(req any) error {
			denied := func(e *types.Entry) bool { return strings.HasPrefix(e.GetSpiffeId().GetPath(), "/denied") }
			isLate := func(e *types.Entry) bool { return e.GetId() == late }
			create, creates := req.(*entryv1.BatchCreateEntryRequest)
			update, updates := req.(*entryv1.BatchUpdateEntryRequest)
			if creates && slices.ContainsFunc(create.GetEntries(), denied) || updates && slices.ContainsFunc(update.GetEntries(), isLate) {
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
		r.wantCounts("beside three denied ones", registrar.Counts{States: registrar.States{Wanted: n + 3, Registered: n, Missing: 3, Refused: 3}, PendingPods: 3})
		if err := r.last().Err; err != nil || len(r.server.Entries()) != n {
			t.Errorf("%d entries, and the pass ended early: %v", len(r.server.Entries()), err)
		}
		if calls := r.server.Calls(create); calls > 45 {
			t.Errorf("%d calls, want a few for each that is denied", calls)
		}

		for i := range n {
			r.set(pod(fmt.Sprint(i)), needs(workload(fmt.Sprint("/", i), time.Hour)))
		}
		r.Resync()
		after(soon)
		with := 0
		for _, e := range r.server.Entries() {
			if e.GetX509SvidTtl() == 3600 {
				with++
			}
		}
		if with != n-1 || r.last().Counts.Refused != 4 {
			t.Errorf("%d entries have the new TTL, and %d are refused; want all but the denied ones", with, r.last().Counts.Refused)
		}
	})
}

func TestReconcilerAddsAFederatedDomainWhenItsBundleComes(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{Interval: time.Hour}, func(t *testing.T, r *reconciliation) {
		auxiliary := spiffeid.RequireTrustDomainFromString("auxiliary.org")
		w := workload("/api", 0)
		w.FederatesWith = []spiffeid.TrustDomain{auxiliary}
		r.set(pod("a"), needs(w))
		r.start()
		id := entryID(t, "/api")
		r.wantEntries("without the domain", id)
		r.wantCounts("without the domain", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}, WithoutBundle: 1})
		after(time.Minute)
		r.wantCounts("a while later", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}, WithoutBundle: 1})
		r.set(pod("a"), needs(workload("/api", 0)))
		after(soon)
		r.wantCounts("when the domain is not wanted", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}})
		r.set(pod("a"), needs(w))
		after(soon)
		r.server.PutBundle(&types.Bundle{TrustDomain: auxiliary.Name()})
		after(watchful)
		if got := r.entry(id).GetFederatesWith(); len(got) != 1 {
			t.Errorf("federates with %v, want the domain", got)
		}
		r.wantCounts("with the domain", registrar.Counts{States: registrar.States{Wanted: 1, Registered: 1}})
	})
}

func TestPlanChangesNothing(t *testing.T) {
	reconciling(t, registrar.ReconcilerOptions{}, func(t *testing.T, r *reconciliation) {
		r.set(pod("a"), needs(workload("/api", 0)))
		steps, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(steps) != 1 || len(r.server.Entries()) != 0 {
			t.Errorf("%d steps, %d entries; want the entry to be created, and nothing there", len(steps), len(r.server.Entries()))
		}
		r.away()
		if _, err := r.Plan(t.Context()); registrar.KindOf(err) != registrar.Unavailable {
			t.Errorf("error %v, want that SPIRE is away", err)
		}
	})
}
