package registrar

import (
	"sync"
	"time"
)

// known remembers entries that SPIRE was lately seen to hold. It keeps two generations of at most limit entries
// each and drops the older one when the younger is full or has lasted a whole window: memory is bounded, and
// nothing need be searched for or swept.
type known struct {
	window time.Duration
	limit  int
	now    func() time.Time

	mu         sync.Mutex
	since      time.Time // when young was begun
	young, old map[string]sighting
}

type sighting struct {
	entry Entry
	at    time.Time
}

func newKnown(window time.Duration, limit int, now func() time.Time) *known {
	return &known{window: window, limit: limit, now: now, since: now(), young: map[string]sighting{}}
}

// get returns the entry as it was seen within the window.
func (k *known) get(id string) (Entry, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.young[id]
	if !ok {
		s, ok = k.old[id]
	}
	return s.entry, ok && k.now().Sub(s.at) < k.window
}

// put records under the ID that was asked for, which may differ from the entry's own.
func (k *known) put(id string, e Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if len(k.young) >= k.limit || now.Sub(k.since) >= k.window {
		k.old, k.young, k.since = k.young, map[string]sighting{}, now
	}
	k.young[id] = sighting{entry: e, at: now}
}
