package registrar

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// registration is one entry's, in flight or done.
type registration struct {
	want Entry
	done chan struct{} // closed when the rest is set
	// err is an [Error]; meanwhile it may wrap [ErrNotFound].
	err error
}

// run makes SPIRE hold the entries, as much of them as is possible, and ends their flight.
func (r *Registrar) run(ctx context.Context, all []*registration) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	r.register(ctx, all)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, done := range all {
		if done.err == nil {
			r.entries.put(done.want.ID, struct{}{})
		}
		delete(r.inFlight, done.want.ID)
		close(done.done)
	}
}

func (r *Registrar) register(ctx context.Context, all []*registration) {
	hasBundle := r.mayHaveBundle
	for attempt := 1; ; attempt++ {
		r.attempt(ctx, all, hasBundle)
		if all = retriable(all); len(all) == 0 {
			return
		}
		if attempt == maxAttempts {
			break
		}
		if !slices.ContainsFunc(all, func(p *registration) bool { return KindOf(p.err) == MissingBundle }) {
			continue
		}
		present, err := r.api.FederatedBundles(ctx)
		if err != nil {
			fail(all, err)
			return
		}
		hasBundle = func(td spiffeid.TrustDomain) bool {
			return td == r.cluster.TrustDomain || slices.Contains(present, td)
		}
		for _, p := range all {
			_, missing := p.want.Narrow(hasBundle)
			for _, td := range missing {
				r.lacking.put(td, struct{}{})
			}
		}
	}
	for _, p := range all {
		if errors.Is(p.err, ErrNotFound) {
			p.err = gone(p.want)
		}
	}
}

// retriable returns those that another attempt may help: the entry went between two calls, or a bundle is missing.
func retriable(all []*registration) []*registration {
	return slices.DeleteFunc(slices.Clone(all), func(p *registration) bool {
		return !errors.Is(p.err, ErrNotFound) && KindOf(p.err) != MissingBundle
	})
}

func fail(all []*registration, err error) {
	for _, p := range all {
		p.err = err
	}
}

// gone is the error of an entry that was there at each creation, and was not when it was read.
func gone(want Entry) error {
	return &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE refuses entry %q (%s) as a duplicate but holds no entry of "+
		"this ID, %d times in a row: something else deletes entries at the same moment, or the server's database is "+
		"inconsistent; look at the SPIRE server's log", want.ID, want.SPIFFEID, maxAttempts)}
}

// attempt creates in one call the entries that are missing, without the trust domains that have no bundle. Each error is
// an [Error], or wraps [ErrNotFound].
func (r *Registrar) attempt(ctx context.Context, all []*registration, hasBundle func(spiffeid.TrustDomain) bool) {
	wants := make([]Entry, len(all))
	for i, p := range all {
		wants[i], _ = p.want.Narrow(hasBundle)
	}
	created, err := r.api.CreateEntries(ctx, wants)
	if err == nil && len(created) != len(wants) {
		err = &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE answered %d creations with %d results: expected one each",
			len(wants), len(created))}
	}
	for i, p := range all {
		if p.err = err; err == nil {
			p.err = r.accept(ctx, wants[i], created[i])
		}
	}
}

// accept says whether SPIRE holds what was to be created, or an entry in its place that is ours or serves as well.
func (r *Registrar) accept(ctx context.Context, want Entry, result CreateResult) error {
	have := result.Entry
	switch {
	case result.Err != nil:
		return result.Err
	case !result.Existed:
		if have == nil || have.Canonical().differsIn(want.Canonical()) != 0 || have.ID != want.ID {
			return &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE says that it holds entry %q (%s), but what it "+
				"returns differs from what was asked for: something between the injector and SPIRE, or beside it, changes entries",
				want.ID, want.SPIFFEID)}
		}
		return nil
	case have == nil:
		found, err := r.api.GetEntry(ctx, want.ID)
		if err != nil {
			return err
		}
		have = &found
	}
	if r.cluster.KindOf(*have) == KindWorkload {
		return nil
	}
	if plan := r.cluster.Plan(want, have); plan.Action == Refuse {
		return &Error{Kind: Conflict, Message: plan.Reason}
	}
	return nil
}
