package registrar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Outcome is what became of a step.
type Outcome struct {
	Step
	// Err is why nothing became of it: an [Error], or one that wraps [ErrNotFound] for an entry that is gone meanwhile.
	Err error
}

// Entries is what a [Reconciler] asks of SPIRE.
type Entries interface {
	EntryCreator
	EntryUpdater
	EntryReader
	EntryLister
	EntryDeleter
	BundleLister
}

// batch is how many entries one request is about: SPIRE works through them one by one, so that a larger one saves
// little more and keeps others waiting for longer.
const batch = 200

// carryOut does what the steps say, in batches, and calls done with the outcome of each. It ends with the first error
// that is about SPIRE and not about an entry.
func (c Cluster) carryOut(ctx context.Context, api Entries, steps []Step, done func(Outcome)) error {
	var creates, removes []Step
	updates := map[Fields][]Step{}
	for _, s := range steps {
		switch s.Action {
		case Create:
			creates = append(creates, s)
		case Update:
			updates[s.Fields] = append(updates[s.Fields], s)
		case Remove:
			removes = append(removes, s)
		case Refuse:
			done(Outcome{s, &Error{Kind: Conflict, Message: s.Reason}})
		case Keep, Wait: // nothing to do
		}
	}
	for group := range slices.Chunk(creates, batch) {
		if err := c.create(ctx, api, group, done); err != nil {
			return err
		}
	}
	for _, fields := range slices.Sorted(maps.Keys(updates)) {
		for group := range slices.Chunk(updates[fields], batch) {
			if err := update(ctx, api, group, fields, done); err != nil {
				return err
			}
		}
	}
	for group := range slices.Chunk(removes, batch) {
		if err := remove(ctx, api, group, done); err != nil {
			return err
		}
	}
	return nil
}

// bisect sends what steps are about in one request. SPIRE's authorization policy denies a request for the sake of a
// single entry in it: then halves are sent, until the denied ones are alone and the others through.
func bisect(steps []Step, send func([]Step) error, done func(Outcome)) error {
	err := send(steps)
	switch {
	case err == nil || KindOf(err) != Denied:
		return err
	case len(steps) == 1:
		done(Outcome{steps[0], err})
		return nil
	}
	for half := range slices.Chunk(steps, (len(steps)+1)/2) {
		if err := bisect(half, send, done); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) create(ctx context.Context, api Entries, steps []Step, done func(Outcome)) error {
	return bisect(steps, func(steps []Step) error {
		results, err := api.CreateEntries(ctx, entriesOf(steps))
		if err != nil {
			return err
		}
		for i, s := range steps {
			o, err := c.created(ctx, api, s, results[i])
			if err != nil {
				return err
			}
			done(o)
		}
		return nil
	}, done)
}

// created follows up on one creation. Admission may have been faster, which is no change of ours.
func (c Cluster) created(ctx context.Context, api Entries, s Step, r CreateResult) (Outcome, error) {
	plan, err := c.followUp(ctx, api, s.Entry, r)
	switch plan.Action {
	case Update:
		s.Plan, s.ID, s.Why = plan, plan.Entry.ID, reason.EntryDrifted
	case Refuse:
		s.Plan, s.ID, s.Why = plan, plan.Entry.ID, reason.EntryInTheWay
	case Keep:
		s.Plan, s.ID, s.Why = plan, plan.Entry.ID, ""
	case Create, Wait, Remove: // as it was planned
	}
	return Outcome{s, err}, unavailable(err)
}

// followUp follows up on the result of one creation: what was there already is changed to what is wanted, or stands in
// its way. It returns what was done, or tried. The error is an [Error], or wraps [ErrNotFound] for an entry that is
// gone meanwhile.
func (c Cluster) followUp(ctx context.Context, api entryRepairer, want Entry, r CreateResult) (Plan, error) {
	switch {
	case r.Err != nil:
		return Plan{Action: Create, Entry: want}, r.Err
	case !r.Existed && r.Entry != nil:
		return Plan{Action: Create, Entry: *r.Entry}, nil
	case r.Entry == nil:
		have, err := api.GetEntry(ctx, want.ID)
		if err != nil {
			return Plan{Action: Create, Entry: want}, err
		}
		r.Entry = &have
	}
	plan := c.Plan(want, r.Entry)
	switch plan.Action {
	case Update:
		results, err := api.UpdateEntries(ctx, []Entry{plan.Entry}, plan.Fields)
		if err != nil {
			return plan, err
		}
		if len(results) != 1 {
			return plan, &Error{
				Kind:    Failed,
				Message: fmt.Sprintf("SPIRE answered 1 update with %d results: expected one each", len(results)),
			}
		}
		if results[0].Err == nil {
			plan.Entry = results[0].Entry
		}
		return plan, results[0].Err
	case Refuse:
		return plan, &Error{Kind: Conflict, Message: plan.Reason}
	default:
		return plan, nil
	}
}

// entryRepairer is what is asked after a creation that found something there.
type entryRepairer interface {
	EntryReader
	EntryUpdater
}

func update(ctx context.Context, api Entries, steps []Step, fields Fields, done func(Outcome)) error {
	return bisect(steps, func(steps []Step) error {
		results, err := api.UpdateEntries(ctx, entriesOf(steps), fields)
		if err != nil {
			return err
		}
		for i, s := range steps {
			if s.Entry = results[i].Entry; results[i].Err != nil {
				s.Entry = steps[i].Entry
			}
			done(Outcome{s, results[i].Err})
		}
		return nil
	}, done)
}

func remove(ctx context.Context, api Entries, steps []Step, done func(Outcome)) error {
	ids := make([]string, len(steps))
	for i, s := range steps {
		ids[i] = s.ID
	}
	results, err := api.DeleteEntries(ctx, ids)
	if err != nil {
		return err
	}
	for i, s := range steps {
		done(Outcome{s, results[i]})
	}
	return nil
}

func entriesOf(steps []Step) []Entry {
	entries := make([]Entry, len(steps))
	for i, s := range steps {
		entries[i] = s.Entry
	}
	return entries
}

// unavailable passes on errors that would meet every other entry as well. A denial may be of this one's.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || KindOf(err) != Unavailable {
		return nil
	}
	return fmt.Errorf("the rest was not tried: %w", err)
}
