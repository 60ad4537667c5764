package registrar

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// Options tune a [Registrar]; the zero value is good.
type Options struct {
	// Fresh is how long an entry that SPIRE confirmed is taken to be there without asking again; 30 s by default.
	Fresh time.Duration
	// Remembered bounds how many confirmed entries are kept in memory; 10,000 by default.
	Remembered int
	// Timeout bounds one registration, which outlives a caller that gives up; 10 s by default.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// maxAttempts bounds how often a registration starts over because an entry vanished between two calls.
const maxAttempts = 3

// Registrar makes SPIRE hold the entries of workloads. It is safe for concurrent use, also beside others of the
// same cluster in other processes.
type Registrar struct {
	cluster Cluster
	api     API
	timeout time.Duration
	known   *known
	flights singleflight.Group
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
	return &Registrar{cluster: cluster, api: api, timeout: o.Timeout, known: newKnown(o.Fresh, o.Remembered, o.Now)}
}

// Ensure returns when SPIRE holds an entry that gives the workload its identity, with that entry's ID. It changes
// nothing when it is called again.
//
// A workload that SPIRE confirmed a short while ago costs no call, another one a single call. Concurrent callers for
// one identity share that call; it goes on when one of them gives up, and for that one the error is of kind
// Unavailable and wraps the context's. Callers that differ in attributes converge (see [Entry.Converge]); two
// processes that do so in the same instant can leave the longer of two TTLs until one of them asks again.
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
			if have := result.Val.(Entry); r.serves(have, want) {
				return have.ID, nil
			}
		}
	}
}

func gaveUp(ctx context.Context, want Entry) error {
	return &Error{Kind: Unavailable, Err: context.Cause(ctx), Message: fmt.Sprintf(
		"SPIRE did not confirm entry %q (%s) in the time allowed (%v): check that the SPIRE server can be reached, its load and its log, or allow more time",
		want.ID, want.SPIFFEID, context.Cause(ctx))}
}

// lookUp returns the remembered entry if it serves the wanted one.
func (r *Registrar) lookUp(want Entry) (Entry, bool) {
	have, ok := r.known.get(want.ID)
	return have, ok && r.serves(have, want)
}

// serves says whether what SPIRE holds needs no change to be what is wanted.
func (r *Registrar) serves(have, want Entry) bool {
	return r.cluster.Plan(want, &have).Action == Keep
}

// register makes SPIRE hold the entry and returns what SPIRE holds.
func (r *Registrar) register(ctx context.Context, want Entry) (Entry, error) {
	// A flight that ended between a caller's look and its take-off has done the work already.
	if have, ok := r.lookUp(want); ok {
		return have, nil
	}
	if !r.aliasSeen.Load() {
		if _, err := r.settleAll(ctx, r.cluster.NodeAlias()); err != nil {
			return Entry{}, err
		}
		r.aliasSeen.Store(true)
	}
	// The alias goes along every time: an entry whose parent is gone serves nobody, SPIRE does not say so, and one
	// more row in a request that is made anyway costs less than a second request.
	settled, err := r.settleAll(ctx, r.cluster.NodeAlias(), want)
	if err != nil {
		r.aliasSeen.Store(false)
		return Entry{}, err
	}
	have := settled[1]
	r.known.put(want.ID, have)
	return have, nil
}

// errStartOver says that an entry vanished between two calls.
var errStartOver = errors.New("entry vanished")

// settleAll creates the entries that are missing, repairs those of ours that differ, and returns what SPIRE holds.
func (r *Registrar) settleAll(ctx context.Context, wants ...Entry) ([]Entry, error) {
	for range maxAttempts {
		settled, err := r.settleOnce(ctx, wants)
		if !errors.Is(err, errStartOver) {
			return settled, err
		}
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
		if settled[i], err = r.settle(ctx, want, results[i]); err != nil {
			return nil, err
		}
		if !r.serves(settled[i], want) {
			return nil, &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE says that it holds entry %q (%s), but what it returns differs from what was asked for: "+
				"something between the injector and SPIRE, or beside it, changes entries", want.ID, want.SPIFFEID)}
		}
	}
	return settled, nil
}

// settle follows up on the result of one creation.
func (r *Registrar) settle(ctx context.Context, want Entry, result CreateResult) (Entry, error) {
	switch {
	case result.Err != nil:
		return Entry{}, result.Err
	case !result.Existed && result.Entry != nil:
		return *result.Entry, nil
	case result.Entry == nil:
		have, err := r.api.GetEntry(ctx, want.ID)
		if errors.Is(err, ErrNotFound) {
			return Entry{}, errStartOver
		}
		if err != nil {
			return Entry{}, err
		}
		result.Entry = &have
	}
	switch plan := r.cluster.Plan(want, result.Entry); plan.Action {
	case Update:
		have, err := r.api.UpdateEntry(ctx, plan.Entry, plan.Fields)
		if errors.Is(err, ErrNotFound) {
			return Entry{}, errStartOver
		}
		return have, err
	case Refuse:
		return Entry{}, &Error{Kind: Conflict, Message: plan.Reason}
	default:
		return plan.Entry, nil
	}
}
