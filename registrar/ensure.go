package registrar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/singleflight"
)

// Options tune a [Registrar]; the zero value is good.
type Options struct {
	// Fresh is how long an entry that SPIRE confirmed is taken to be there, and a bundle that SPIRE lacked to be missing,
	// without asking again; 30 s by default.
	Fresh time.Duration
	// Remembered bounds how many confirmed entries, and how many missing bundles, are kept in memory; 10,000 by default.
	Remembered int
	// Timeout bounds one registration, which outlives a caller that gives up; 10 s by default.
	Timeout time.Duration
	// Confirmed says of an entry that it was registered for a pod that runs, so that SPIRE need not be asked; nil: nobody knows.
	Confirmed func(Entry) bool
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// OnMissingBundle, if set, is told of each registration that had to leave foreign trust domains out because SPIRE has
	// no bundle of them, with the entry as SPIRE holds it. Callers wait for it; it may be called concurrently.
	OnMissingBundle func(entry Entry, missing []spiffeid.TrustDomain)
}

// maxAttempts bounds how often a registration starts over because an entry, or a bundle, vanished between two calls.
const maxAttempts = 3

// Registrar makes SPIRE hold the entries of workloads. It is safe for concurrent use, also beside others of the
// same cluster in other processes.
type Registrar struct {
	cluster   Cluster
	api       API
	timeout   time.Duration
	known     *known[string, Entry] // by the ID that was asked for, which may differ from the entry's own
	lacking   *known[spiffeid.TrustDomain, struct{}]
	report    func(Entry, []spiffeid.TrustDomain)
	confirmed func(Entry) bool
	flights   singleflight.Group
	// aliasSeen is whether this process has seen the node alias. Until then it is registered in a call of its own,
	// so that when it cannot be, no workload's entry is left behind.
	aliasSeen atomic.Bool
}

// New returns a registrar of the cluster's workloads.
func New(cluster Cluster, api API, o Options) *Registrar {
	if o.Fresh <= 0 {
		o.Fresh = 30 * time.Second
	}
	if o.Remembered <= 0 {
		o.Remembered = 10_000
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Confirmed == nil {
		o.Confirmed = func(Entry) bool { return false }
	}
	if o.OnMissingBundle == nil {
		o.OnMissingBundle = func(Entry, []spiffeid.TrustDomain) {}
	}
	return &Registrar{
		cluster: cluster, api: api, timeout: o.Timeout, report: o.OnMissingBundle, confirmed: o.Confirmed,
		known:   newKnown[string, Entry](o.Fresh, o.Remembered, o.Now),
		lacking: newKnown[spiffeid.TrustDomain, struct{}](o.Fresh, o.Remembered, o.Now),
	}
}

// Ensure returns when SPIRE holds an entry that gives the workload its identity, with that entry's ID. It changes
// nothing when it is called again.
//
// A workload that SPIRE confirmed a short while ago, or that runs already, costs no call, another one a single call. Concurrent callers for
// one identity share that call; it goes on when one of them gives up, and for that one the error is of kind
// Unavailable and wraps the context's. Callers that differ in attributes converge (see [Entry.Converge]); two
// processes that do so in the same instant can leave the longer of two TTLs until one of them asks again.
//
// Foreign trust domains that SPIRE has no bundle of are left out of the entry, and reported (see
// [Options.OnMissingBundle]): the workload serves its own domain meanwhile. Once their bundle is there, a call that
// comes after [Options.Fresh] adds them.
//
// Every error is an [Error].
func (r *Registrar) Ensure(ctx context.Context, w Workload) (entryID string, err error) {
	if err := r.cluster.Check(w); err != nil {
		return "", &Error{Kind: Invalid, Message: fmt.Sprintf("cannot register %s/%s: %v", w.Namespace, w.ServiceAccount, err), Err: err}
	}
	want := r.cluster.WorkloadEntry(w)
	for {
		if have, ok := r.lookUp(want); ok {
			return have.ID, nil
		}
		if r.confirmed(want) {
			return want.ID, nil
		}
		if ctx.Err() != nil {
			return "", gaveUp(ctx, want)
		}
		// Flights are per entry, not per set of attributes, so that within a process no update is computed from an
		// entry that another one is about to change. A flight may have been another caller's, with attributes that
		// do not serve this one; but every flight serves the one who started it, so the loop ends.
		flight := r.flights.DoChan(want.ID, func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
			defer cancel()
			return r.register(ctx, want)
		})
		select {
		case <-ctx.Done():
			return "", gaveUp(ctx, want)
		case result := <-flight:
			if result.Err != nil {
				return "", result.Err
			}
			if got := result.Val.(registration); r.serves(got.entry, got.possible(want)) {
				return got.entry.ID, nil
			}
		}
	}
}

// registration is what SPIRE holds, and the trust domains that had to be left out of it.
type registration struct {
	entry   Entry
	missing []spiffeid.TrustDomain
}

// possible is what was possible of a wanted entry.
func (r registration) possible(want Entry) Entry {
	want, _ = want.Narrow(func(td spiffeid.TrustDomain) bool { return !slices.Contains(r.missing, td) })
	return want
}

func gaveUp(ctx context.Context, want Entry) error {
	return &Error{Kind: Unavailable, Err: context.Cause(ctx), Message: fmt.Sprintf(
		"SPIRE did not confirm entry %q (%s) in the time allowed (%v): check that the SPIRE server can be reached, its load and its log, or allow more time",
		want.ID, want.SPIFFEID, context.Cause(ctx))}
}

// lookUp returns the remembered entry if it serves as much of the wanted one as is possible.
func (r *Registrar) lookUp(want Entry) (Entry, bool) {
	possible, _ := want.Narrow(r.mayHaveBundle)
	have, ok := r.known.get(want.ID)
	return have, ok && r.serves(have, possible)
}

// mayHaveBundle says whether SPIRE was not lately seen to lack the bundle.
func (r *Registrar) mayHaveBundle(td spiffeid.TrustDomain) bool {
	_, lacking := r.lacking.get(td)
	return !lacking
}

// serves says whether what SPIRE holds needs no change to be what is wanted.
func (r *Registrar) serves(have, want Entry) bool {
	return r.cluster.Plan(want, &have).Action == Keep
}

// register makes SPIRE hold the entry, as much of it as is possible.
func (r *Registrar) register(ctx context.Context, want Entry) (registration, error) {
	possible, missing := want.Narrow(r.mayHaveBundle)
	// A flight that ended between a caller's look and its take-off has done the work already.
	if have, ok := r.lookUp(want); ok {
		return registration{have, missing}, nil
	}
	if !r.aliasSeen.Load() {
		if _, err := r.settleAll(ctx, r.cluster.NodeAlias()); err != nil {
			return registration{}, err
		}
		r.aliasSeen.Store(true)
	}
	// The alias goes along every time: an entry whose parent is gone serves nobody, SPIRE does not say so, and one
	// more row in a request that is made anyway costs less than a second request.
	settled, err := r.settleAll(ctx, r.cluster.NodeAlias(), possible)
	for attempt := 1; KindOf(err) == MissingBundle && attempt < maxAttempts; attempt++ {
		if possible, missing, err = r.askForBundles(ctx, want); err == nil {
			settled, err = r.settleAll(ctx, r.cluster.NodeAlias(), possible)
		}
	}
	if err != nil {
		r.aliasSeen.Store(false)
		return registration{}, err
	}
	have := settled[1]
	r.known.put(want.ID, have)
	if len(missing) > 0 {
		r.report(have, missing)
	}
	return registration{have, missing}, nil
}

// askForBundles narrows the entry to the trust domains whose bundle SPIRE has, and remembers the others.
func (r *Registrar) askForBundles(ctx context.Context, want Entry) (possible Entry, missing []spiffeid.TrustDomain, err error) {
	present, err := r.api.FederatedBundles(ctx)
	if err != nil {
		return Entry{}, nil, err
	}
	possible, missing = want.Narrow(func(td spiffeid.TrustDomain) bool {
		return td == r.cluster.TrustDomain || slices.Contains(present, td)
	})
	for _, td := range missing {
		r.lacking.put(td, struct{}{})
	}
	return possible, missing, nil
}

// settleAll creates the entries that are missing, repairs those of ours that differ, and returns what SPIRE holds.
func (r *Registrar) settleAll(ctx context.Context, wants ...Entry) ([]Entry, error) {
	for range maxAttempts {
		settled, err := r.settleOnce(ctx, wants)
		if !errors.Is(err, ErrNotFound) {
			return settled, err
		}
		// An entry vanished between two calls.
	}
	want := wants[len(wants)-1]
	return nil, &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE refuses entry %q (%s) as a duplicate but holds no entry of this ID, %d times in a row: "+
		"something else deletes entries at the same moment, or the server's database is inconsistent; look at the SPIRE server's log",
		want.ID, want.SPIFFEID, maxAttempts)}
}

func (r *Registrar) settleOnce(ctx context.Context, wants []Entry) ([]Entry, error) {
	results, err := r.api.CreateEntries(ctx, wants)
	if err != nil {
		return nil, err
	}
	if len(results) != len(wants) {
		return nil, &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE answered %d creations with %d results: expected one each", len(wants), len(results))}
	}
	settled := make([]Entry, len(wants))
	for i, want := range wants {
		plan, err := r.cluster.settle(ctx, r.api, want, results[i])
		if err != nil {
			return nil, err
		}
		if settled[i] = plan.Entry; !r.serves(settled[i], want) {
			return nil, &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE says that it holds entry %q (%s), but what it returns differs from what was asked for: "+
				"something between the injector and SPIRE, or beside it, changes entries", want.ID, want.SPIFFEID)}
		}
	}
	return settled, nil
}
