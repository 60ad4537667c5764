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
	// entry is what SPIRE holds, and missing the trust domains that had to be left out of it.
	entry   Entry
	missing []spiffeid.TrustDomain
	// err is an [Error]; meanwhile it may wrap [ErrNotFound].
	err error
}

// possible is what was possible of a wanted entry.
func (r *registration) possible(want Entry) Entry {
	want, _ = want.Narrow(func(td spiffeid.TrustDomain) bool { return !slices.Contains(r.missing, td) })
	return want
}

// run makes SPIRE hold the entries, as much of them as is possible, and ends their flight.
func (r *Registrar) run(ctx context.Context, all []*registration) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	r.register(ctx, all)
	for _, done := range all {
		if done.err != nil {
			r.aliasSeen.Store(false)
		} else if len(done.missing) > 0 {
			r.report(done.entry, done.missing)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, done := range all {
		if done.err == nil {
			r.entries.put(done.want.ID, done.entry)
		}
		delete(r.inFlight, done.want.ID)
		close(done.done)
	}
}

func (r *Registrar) register(ctx context.Context, all []*registration) {
	if !r.aliasSeen.Load() {
		if err := r.registerAlias(ctx); err != nil {
			fail(all, err)
			return
		}
		r.aliasSeen.Store(true)
	}
	hasBundle := r.mayHaveBundle
	for attempt := 1; ; attempt++ {
		for _, p := range all {
			_, p.missing = p.want.Narrow(hasBundle)
		}
		r.attempt(ctx, all)
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

func (r *Registrar) registerAlias(ctx context.Context) error {
	alias := r.cluster.NodeAlias()
	for range maxAttempts {
		results := r.ensure(ctx, []Entry{alias})
		if !errors.Is(results[0].err, ErrNotFound) {
			return results[0].err
		}
	}
	return gone(alias)
}

// attempt tries once. The alias goes along every time: an entry whose parent is gone serves nobody, SPIRE does not say
// so, and one more row in a request that is made anyway costs less than a second request.
func (r *Registrar) attempt(ctx context.Context, all []*registration) {
	wants := []Entry{r.cluster.NodeAlias()}
	for _, p := range all {
		wants = append(wants, p.possible(p.want))
	}
	results := r.ensure(ctx, wants)
	for i, p := range all {
		if p.entry, p.err = results[i+1].entry, results[i+1].err; results[0].err != nil {
			p.err = results[0].err
		}
	}
}

// ensured is what SPIRE holds of a wanted entry.
type ensured struct {
	entry Entry
	err   error
}

// ensure creates in one call the entries that are missing, repairs those of ours that differ, and returns what SPIRE
// holds of each. An error is an [Error], or wraps [ErrNotFound].
func (r *Registrar) ensure(ctx context.Context, wants []Entry) []ensured {
	created, err := r.api.CreateEntries(ctx, wants)
	if err == nil && len(created) != len(wants) {
		err = &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE answered %d creations with %d results: expected one each",
			len(wants), len(created))}
	}
	results := make([]ensured, len(wants))
	for i, want := range wants {
		if results[i].err = err; err != nil {
			continue
		}
		plan, err := r.cluster.followUp(ctx, r.api, want, created[i])
		results[i] = ensured{plan.Entry, err}
		if err == nil && !r.serves(plan.Entry, want) {
			results[i].err = &Error{Kind: Failed, Message: fmt.Sprintf("SPIRE says that it holds entry %q (%s), but what it "+
				"returns differs from what was asked for: something between the injector and SPIRE, or beside it, changes entries",
				want.ID, want.SPIFFEID)}
		}
	}
	return results
}
