package registrar

import (
	"sync"
	"time"
)

// known remembers what SPIRE was lately seen to hold, or to lack. It keeps two generations of at most limit entries
// each and drops the older one when the younger is full or has lasted a whole window: memory is bounded, and
// nothing need be searched for or swept.
type known[K comparable, V any] struct {
	window time.Duration
	limit  int
	now    func() time.Time

	mu         sync.Mutex
	since      time.Time // when young was begun
	young, old map[K]sighting[V]
}

type sighting[V any] struct {
	value V
	at    time.Time
}

func newKnown[K comparable, V any](window time.Duration, limit int, now func() time.Time) *known[K, V] {
	return &known[K, V]{window: window, limit: limit, now: now, since: now(), young: map[K]sighting[V]{}}
}

// get returns what was seen within the window.
func (k *known[K, V]) get(key K) (V, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.young[key]
	if !ok {
		s, ok = k.old[key]
	}
	return s.value, ok && k.now().Sub(s.at) < k.window
}

func (k *known[K, V]) put(key K, value V) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if len(k.young) >= k.limit || now.Sub(k.since) >= k.window {
		k.old, k.young, k.since = k.young, map[K]sighting[V]{}, now
	}
	k.young[key] = sighting[V]{value: value, at: now}
}
