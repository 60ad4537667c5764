package registrar

import (
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
)

// ttlCache is what SPIRE was lately seen to hold, or to lack.
type ttlCache[K comparable, V any] struct {
	lru *cache.LRUExpireCache
	ttl time.Duration
}

// clock is of the kind that the cache takes.
type clock func() time.Time

// Now implements the cache's Clock.
func (c clock) Now() time.Time { return c() }

// newTTLCache returns a cache of at most so many keys, of which the least recently used give way.
func newTTLCache[K comparable, V any](ttl time.Duration, size int, now func() time.Time) ttlCache[K, V] {
	return ttlCache[K, V]{lru: cache.NewLRUExpireCacheWithClock(size, clock(now)), ttl: ttl}
}

func (c ttlCache[K, V]) get(key K) (V, bool) {
	found, ok := c.lru.Get(key)
	value, _ := found.(V)
	return value, ok
}

func (c ttlCache[K, V]) put(key K, value V) { c.lru.Add(key, value, c.ttl) }
