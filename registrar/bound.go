package registrar

import (
	"fmt"
	"sync"
	"time"
)

// Bound bounds how many entries a namespace may have.
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

// bound counts what was created lately beside what pods need, since a pod may never follow its admission.
type bound struct {
	Bound
	now func() time.Time

	mu     sync.Mutex
	lately map[string]map[string]time.Time // until when IDs of entries count, by namespace
}

func newBound(b Bound, now func() time.Time) *bound {
	return &bound{Bound: b, now: now, lately: map[string]map[string]time.Time{}}
}

// take counts entries that are to be created in a namespace. The error is an [Error] of kind TooMany; then none is
// counted.
func (b *bound) take(namespace string, entries []Entry) error {
	if b.Max == nil || b.Max() <= 0 {
		return nil
	}
	counted := ids{}
	for _, id := range b.Needed(namespace) {
		counted[id] = true
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	lately := b.lately[namespace]
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
	if n, most := len(counted), b.Max(); n > most {
		return &Error{Kind: TooMany, Message: fmt.Sprintf("namespace %s would have %d registration entries in SPIRE, one for each "+
			"identity, service account and container, expected at most %d (%s of the platform file): use fewer identities or "+
			"mode sidecar; entries that no pod needs go %s after their admission", namespace, n, most, b.Where, b.For)}
	}
	if lately == nil {
		lately = map[string]time.Time{}
		b.lately[namespace] = lately
	}
	for _, e := range entries {
		lately[e.ID] = now.Add(b.For)
	}
	return nil
}
