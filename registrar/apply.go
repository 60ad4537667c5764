package registrar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Outcome is what became of a step.
type Outcome struct {
	Step
	// Err is why nothing became of it: an [Error], or one that wraps [ErrNotFound] for an entry that vanished meanwhile.
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

// batch is how many entries one request is about: SPIRE works through them one by one, so that a larger one saves little more
// and keeps others waiting for longer.
const batch = 200

// carryOut does what the steps say, in batches, and calls done with the outcome of each. It ends with the first error that is
// about SPIRE and not about an entry.
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
	for _, group := range groups(creates) {
		if err := c.create(ctx, api, group, done); err != nil {
			return err
		}
	}
	for _, fields := range slices.Sorted(maps.Keys(updates)) {
		for _, group := range groups(updates[fields]) {
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

// groups are the steps of one request each. An entry with a flag has one for itself: SPIRE's authorization policy may deny it,
// and then the whole request.
func groups(steps []Step) [][]Step {
	var out [][]Step
	plain := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return hasFlag(s.Entry) })
	for group := range slices.Chunk(plain, batch) {
		out = append(out, group)
	}
	for _, s := range steps {
		if hasFlag(s.Entry) {
			out = append(out, []Step{s})
		}
	}
	return out
}

func hasFlag(e Entry) bool { return e.Admin || e.Downstream || e.StoreSVID }

// deniedAlone turns the denial of a request about one entry with a flag into an outcome, so that the others go on.
func deniedAlone(steps []Step, err error, done func(Outcome)) error {
	if len(steps) == 1 && hasFlag(steps[0].Entry) && KindOf(err) == Denied {
		done(Outcome{steps[0], err})
		return nil
	}
	return err
}

func (c Cluster) create(ctx context.Context, api Entries, steps []Step, done func(Outcome)) error {
	results, err := api.CreateEntries(ctx, entriesOf(steps))
	if err != nil {
		return deniedAlone(steps, err, done)
	}
	for i, s := range steps {
		o, err := c.created(ctx, api, s, results[i])
		if err != nil {
			return err
		}
		done(o)
	}
	return nil
}

// created follows up on one creation. Admission may have been faster, which is no change of ours.
func (c Cluster) created(ctx context.Context, api Entries, s Step, r CreateResult) (Outcome, error) {
	if r.Err != nil || !r.Existed {
		return Outcome{s, r.Err}, unavailable(r.Err)
	}
	if r.Entry == nil {
		have, err := api.GetEntry(ctx, s.Entry.ID)
		if err != nil {
			return Outcome{s, err}, unavailable(err)
		}
		r.Entry = &have
	}
	s.ID, s.Why = r.Entry.ID, ReasonDrifted
	switch s.Plan = c.Plan(s.Entry, r.Entry); s.Action {
	case Update:
		out := Outcome{Step: s}
		err := update(ctx, api, []Step{s}, s.Fields, func(o Outcome) { out = o })
		return out, err
	case Refuse:
		s.Why = ReasonInTheWay
		return Outcome{s, &Error{Kind: Conflict, Message: s.Reason}}, nil
	default:
		s.Why = ""
		return Outcome{s, nil}, nil
	}
}

func update(ctx context.Context, api Entries, steps []Step, fields Fields, done func(Outcome)) error {
	results, err := api.UpdateEntries(ctx, entriesOf(steps), fields)
	if err != nil {
		return deniedAlone(steps, err, done)
	}
	for i, s := range steps {
		if s.Entry = results[i].Entry; results[i].Err != nil {
			s.Entry = steps[i].Entry
		}
		done(Outcome{s, results[i].Err})
	}
	return nil
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

// unavailable passes on errors that would meet every other entry as well.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrNotFound) {
		return nil
	}
	if kind := KindOf(err); kind == Unavailable || kind == Denied {
		return fmt.Errorf("the rest was not tried: %w", err)
	}
	return nil
}
