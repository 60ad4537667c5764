package registrar

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Defaults of [Options].
const (
	DefaultCacheTTL = 30 * time.Second
	DefaultTimeout  = 10 * time.Second
)

// Options tune a [Registrar]; the zero value is good.
type Options struct {
	// CacheTTL is how long an entry that SPIRE confirmed is taken to be there, and a bundle that SPIRE lacked to be
	// missing, without asking again; [DefaultCacheTTL] if it is 0.
	CacheTTL time.Duration
	// CacheSize bounds how many confirmed entries, and how many missing bundles, are cached; 10,000 by default.
	CacheSize int
	// Timeout bounds one registration, which outlives a caller that gives up; [DefaultTimeout] if it is 0.
	Timeout time.Duration
	// Confirmed says of an entry that it was registered for a pod that runs, so that SPIRE need not be asked; nil:
	// nobody knows.
	Confirmed func(Entry) bool
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// OnMissingBundle, if set, is called after each registration that had to leave foreign trust domains out because
	// SPIRE has no bundle of them, with the entry as SPIRE holds it. Callers wait for it; it may be called
	// concurrently.
	OnMissingBundle func(entry Entry, missing []spiffeid.TrustDomain)
}

// maxAttempts bounds how often a registration starts over because an entry, or a bundle, is gone between two calls.
const maxAttempts = 3

// Registrar makes SPIRE hold the entries of workloads. It is safe for concurrent use, also beside others of the
// same cluster in other processes.
type Registrar struct {
	cluster   Cluster
	api       API
	timeout   time.Duration
	entries   ttlCache[string, Entry] // by the ID that was asked for, which may differ from the entry's own
	lacking   ttlCache[spiffeid.TrustDomain, struct{}]
	report    func(Entry, []spiffeid.TrustDomain)
	confirmed func(Entry) bool
	// aliasSeen is whether this process has seen the node alias. Until then it is registered in a call of its own,
	// so that when it cannot be, no workload's entry is left behind.
	aliasSeen atomic.Bool

	mu       sync.Mutex
	inFlight map[string]*registration // by the ID that was asked for
}

// New returns a registrar of the cluster's workloads.
func New(cluster Cluster, api API, o Options) *Registrar {
	if o.CacheTTL <= 0 {
		o.CacheTTL = DefaultCacheTTL
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 10_000
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
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
		cluster:   cluster,
		api:       api,
		timeout:   o.Timeout,
		entries:   newTTLCache[string, Entry](o.CacheTTL, o.CacheSize, o.Now),
		lacking:   newTTLCache[spiffeid.TrustDomain, struct{}](o.CacheTTL, o.CacheSize, o.Now),
		report:    o.OnMissingBundle,
		confirmed: o.Confirmed,
		inFlight:  map[string]*registration{},
	}
}

// Ensure returns when SPIRE holds, for each workload, an entry that gives it its identity, with those entries' IDs in
// the order of the workloads. It changes nothing when it is called again.
//
// A workload that SPIRE confirmed a short while ago, or that runs already, costs no call; all others together cost one.
// Concurrent callers for one identity share its registration; it goes on when one of them gives up, and for that one
// the error is of kind Unavailable and wraps the context's. Callers that differ in attributes converge (see
// [Entry.Converge]); two processes that do so in the same instant can leave the longer of two TTLs until one of them
// asks again.
//
// Foreign trust domains that SPIRE has no bundle of are left out of the entry, and reported (see
// [Options.OnMissingBundle]): the workload serves its own domain meanwhile. Once their bundle is there, a call that
// comes after [Options.CacheTTL] adds them.
//
// Every error is an [Error], about the first workload that has one; the entries of the others may be there.
func (r *Registrar) Ensure(ctx context.Context, workloads []Workload) (entryIDs []string, err error) {
	wants := make([]Entry, len(workloads))
	for i, w := range workloads {
		if err := r.cluster.Check(w); err != nil {
			message := fmt.Sprintf("cannot register %s/%s: %v", w.Namespace, w.ServiceAccount, err)
			return nil, &Error{Kind: Invalid, Message: message, Err: err}
		}
		wants[i] = r.cluster.WorkloadEntry(w)
	}
	entryIDs = make([]string, len(wants))
	for {
		// One that is shared may have been started by a caller whose attributes do not serve this one; but every
		// registration serves the one who started it, so the loop ends.
		awaited, err := r.begin(ctx, wants, entryIDs)
		if err != nil {
			return nil, err
		}
		if len(awaited) == 0 {
			return entryIDs, nil
		}
		for _, i := range slices.Sorted(maps.Keys(awaited)) {
			select {
			case <-ctx.Done():
				return nil, gaveUp(ctx, wants[i])
			case <-awaited[i].done:
			}
			if awaited[i].err != nil {
				return nil, awaited[i].err
			}
			if r.serves(awaited[i].entry, awaited[i].possible(wants[i])) {
				entryIDs[i] = awaited[i].entry.ID
			}
		}
	}
}

// begin fills in the IDs that are still empty where SPIRE need not be asked, and returns, by the index of the others,
// their registrations: those in flight, and new ones, which a caller that has given up does not start.
//
// They are per entry, not per set of attributes, so that within a process no update is computed from an entry that
// another one is about to change.
func (r *Registrar) begin(ctx context.Context, wants []Entry, entryIDs []string) (map[int]*registration, error) {
	ended := ctx.Err() != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	awaited := map[int]*registration{}
	var started []*registration
	for i, want := range wants {
		if entryIDs[i] == "" {
			entryIDs[i] = r.lookUp(want)
		}
		if entryIDs[i] != "" {
			continue
		}
		awaited[i] = r.inFlight[want.ID]
		if awaited[i] != nil {
			continue
		}
		if ended {
			return nil, gaveUp(ctx, want)
		}
		awaited[i] = &registration{want: want, done: make(chan struct{})}
		r.inFlight[want.ID] = awaited[i]
		started = append(started, awaited[i])
	}
	if len(started) > 0 {
		go r.run(context.WithoutCancel(ctx), started)
	}
	return awaited, nil
}

// lookUp returns the ID of the entry that serves as much of the wanted one as is possible, if SPIRE need not be asked;
// else nothing.
func (r *Registrar) lookUp(want Entry) (entryID string) {
	possible, _ := want.Narrow(r.mayHaveBundle)
	if have, ok := r.entries.get(want.ID); ok && r.serves(have, possible) {
		return have.ID
	}
	if r.confirmed(want) {
		return want.ID
	}
	return ""
}

// mayHaveBundle says whether SPIRE was not lately seen to lack the bundle.
func (r *Registrar) mayHaveBundle(td spiffeid.TrustDomain) bool {
	_, lacking := r.lacking.get(td)
	return !lacking
}

// serves says whether what SPIRE holds needs no change to be what is wanted.
func (r *Registrar) serves(have, want Entry) bool { return r.cluster.Plan(want, &have).Action == Keep }

func gaveUp(ctx context.Context, want Entry) error {
	return &Error{Kind: Unavailable, Err: context.Cause(ctx), Message: fmt.Sprintf(
		"SPIRE did not confirm entry %q (%s) in the time allowed (%v): check that the SPIRE server can be reached, its load "+
			"and its log, or allow more time",
		want.ID, want.SPIFFEID, context.Cause(ctx))}
}
