package registrar

import (
	"context"
	"fmt"
	"slices"
	"sync"
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
	// Confirmed says of an entry ID that it was registered for a pod that runs, so that SPIRE need not be asked; nil:
	// nobody knows.
	Confirmed func(entryID string) bool
	// Bound bounds the entries of a namespace; the zero value does not.
	Bound Bound
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// maxAttempts bounds how often a registration starts over because an entry, or a bundle, is gone between two calls.
const maxAttempts = 3

// Registrar makes SPIRE hold the entries of workloads before their pods exist, and changes none that is there. It is
// safe for concurrent use, also beside others of the same cluster in other processes.
type Registrar struct {
	cluster   Cluster
	api       API
	timeout   time.Duration
	entries   ttlCache[string, struct{}] // IDs of those that are there
	lacking   ttlCache[spiffeid.TrustDomain, struct{}]
	confirmed func(string) bool
	bound     *bound

	mu       sync.Mutex
	inFlight map[string]*registration // by entry ID
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
		o.Confirmed = func(string) bool { return false }
	}
	return &Registrar{
		cluster:   cluster,
		api:       api,
		timeout:   o.Timeout,
		entries:   newTTLCache[string, struct{}](o.CacheTTL, o.CacheSize, o.Now),
		lacking:   newTTLCache[spiffeid.TrustDomain, struct{}](o.CacheTTL, o.CacheSize, o.Now),
		confirmed: o.Confirmed,
		bound: newBound(o.Bound, o.Now, func(ctx context.Context, namespace string) ([]string, error) {
			return api.EntriesInNamespace(ctx, cluster, namespace)
		}),
		inFlight: map[string]*registration{},
	}
}

// Ensure returns when SPIRE holds an entry of ours for each workload, with those entries' IDs in the order of the
// workloads. It creates what is missing and changes nothing that is there: what pods that run need of one entry
// together is for the [Reconciler], which knows them.
//
// A workload that SPIRE confirmed a short while ago, or that runs already, costs no call; all others together cost one,
// and in a namespace with many entries a second one in a second, about its [Bound].
// Concurrent callers for one identity share its registration; it goes on when one of them gives up, and for that one
// the error is of kind Unavailable and wraps the context's.
//
// Foreign trust domains that SPIRE has no bundle of are left out of the entry: the workload serves its own domain until
// the reconciler adds them.
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
		entryIDs = append(entryIDs, wants[i].ID)
	}
	missing := slices.DeleteFunc(wants, func(e Entry) bool { return r.isThere(e.ID) })
	if len(missing) == 0 {
		return entryIDs, nil
	}
	if err := r.bound.take(ctx, workloads[0].Namespace, missing); err != nil {
		return nil, err
	}
	awaited, err := r.begin(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, one := range awaited {
		select {
		case <-ctx.Done():
			return nil, gaveUp(ctx, one.want)
		case <-one.done:
		}
		if one.err != nil {
			return nil, one.err
		}
	}
	return entryIDs, nil
}

// begin returns the registrations of entries: those in flight, and new ones, which a caller that has given up does not
// start.
func (r *Registrar) begin(ctx context.Context, wants []Entry) (awaited []*registration, err error) {
	ended := ctx.Err() != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	var started []*registration
	for _, want := range wants {
		one := r.inFlight[want.ID]
		switch {
		case one == nil && ended:
			return nil, gaveUp(ctx, want)
		case one == nil:
			one = &registration{want: want, done: make(chan struct{})}
			r.inFlight[want.ID] = one
			started = append(started, one)
		}
		awaited = append(awaited, one)
	}
	if len(started) > 0 {
		go r.run(context.WithoutCancel(ctx), started)
	}
	return awaited, nil
}

// isThere says whether SPIRE need not be asked for an entry.
func (r *Registrar) isThere(entryID string) bool {
	_, seen := r.entries.get(entryID)
	return seen || r.confirmed(entryID)
}

// mayHaveBundle says whether SPIRE was not lately seen to lack the bundle.
func (r *Registrar) mayHaveBundle(td spiffeid.TrustDomain) bool {
	_, lacking := r.lacking.get(td)
	return !lacking
}

func gaveUp(ctx context.Context, want Entry) error {
	return &Error{Kind: Unavailable, Err: context.Cause(ctx), Message: fmt.Sprintf(
		"SPIRE did not confirm entry %q (%s) in the time allowed (%v): check that the SPIRE server can be reached, its load "+
			"and its log, or allow more time",
		want.ID, want.SPIFFEID, context.Cause(ctx))}
}
