package registrar

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Bound bounds how many entries a namespace may have, whichever replica has made them.
type Bound struct {
	// Max is the number, as it is in force at each call; nil, or 0, is no bound.
	Max func() int
	// Needed are the IDs of the entries that the pods of a namespace need.
	Needed func(namespace string) (entryIDs []string)
	// For is how long an entry counts that was created here and that no pod needs yet: as long as it stays in SPIRE.
	For time.Duration
	// Where says, for messages, where people set Max.
	Where string
}

const (
	// unasked is which part of the bound a replica takes without asking SPIRE what the others have made: as long as
	// there are no more replicas than this, all of them together keep the bound.
	unasked = 4
	// countTTL is for how long SPIRE is not asked again about a namespace. Others may make more meanwhile.
	countTTL = time.Second
	// countsKept is of how many namespaces that is remembered.
	countsKept = 1000
)

// bound counts what was created lately beside what pods need, since a pod may never follow its admission, and what SPIRE
// holds.
type bound struct {
	Bound
	now  func() time.Time
	list func(ctx context.Context, namespace string) ([]string, error)

	held   ttlCache[string, []string] // IDs of entries in SPIRE, by namespace
	asking singleflight.Group

	mu     sync.Mutex
	lately map[string]map[string]time.Time // until when IDs of entries count, by namespace
}

// newBound returns what keeps a bound; list returns the IDs of the entries of a namespace that SPIRE holds.
func newBound(b Bound, now func() time.Time, list func(context.Context, string) ([]string, error)) *bound {
	return &bound{
		Bound:  b,
		now:    now,
		list:   list,
		held:   newTTLCache[string, []string](countTTL, countsKept, now),
		lately: map[string]map[string]time.Time{},
	}
}

// take counts entries that are to be created in a namespace. The error is an [Error]: of kind TooMany, or why SPIRE does
// not say what it holds. Then none is counted.
func (b *bound) take(ctx context.Context, namespace string, entries []Entry) error {
	if b.Max == nil || b.Max() <= 0 {
		return nil
	}
	most := b.Max()
	n, taken := b.takeUpTo(most/unasked, namespace, entries, nil)
	if !taken && n <= most {
		held, err := b.heldIn(ctx, namespace)
		if err != nil {
			return err
		}
		n, taken = b.takeUpTo(most, namespace, entries, held)
	}
	if !taken {
		return &Error{Kind: TooMany, Message: fmt.Sprintf("namespace %s would have %d registration entries in SPIRE, "+
			"one for each identity, service account and container, expected at most %d (%s of the platform file): use fewer "+
			"identities or mode sidecar; entries that no pod needs go %s after their admission",
			namespace, n, most, b.Where, b.For)}
	}
	return nil
}

// takeUpTo counts entries that are to be created if the namespace has no more than most with them. It says how many it
// would have: what this replica knows, and what SPIRE was said to hold.
func (b *bound) takeUpTo(most int, namespace string, entries []Entry, held []string) (n int, taken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counted, now, lately := ids{}, b.now(), b.lately[namespace]
	for _, id := range slices.Concat(b.Needed(namespace), held) {
		counted[id] = true
	}
	for id, until := range lately {
		if now.After(until) {
			delete(lately, id)
		} else {
			counted[id] = true
		}
	}
	for _, e := range entries {
		counted[e.ID] = true
	}
	if len(counted) > most {
		return len(counted), false
	}
	if lately == nil {
		lately = map[string]time.Time{}
		b.lately[namespace] = lately
	}
	for _, e := range entries {
		lately[e.ID] = now.Add(b.For)
	}
	return len(counted), true
}

// heldIn are the entries of a namespace that SPIRE held lately.
func (b *bound) heldIn(ctx context.Context, namespace string) ([]string, error) {
	if held, ok := b.held.get(namespace); ok {
		return held, nil
	}
	listed := b.asking.DoChan(namespace, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
		defer cancel()
		held, err := b.list(ctx, namespace)
		if err == nil {
			b.held.put(namespace, held)
		}
		return held, err
	})
	select {
	case <-ctx.Done():
		return nil, &Error{Kind: Unavailable, Err: context.Cause(ctx), Message: fmt.Sprintf(
			"SPIRE did not say in the time allowed how many entries namespace %s has (%v): check that the SPIRE server can be "+
				"reached, its load and its log", namespace, context.Cause(ctx))}
	case answer := <-listed:
		held, _ := answer.Val.([]string)
		return held, answer.Err
	}
}
