package templates

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Cache keeps configurations for the many pods that share one: a workload's replicas differ in nothing. It keeps what
// it is told to keep, so that a pod that is denied leaves nothing behind.
type Cache struct {
	mu      sync.Mutex
	configs map[cacheKey]Config
	bytes   int
	most    int
}

type cacheKey [sha256.Size]byte

// NewCache returns a cache of at most so many bytes of configurations. When it is full it starts over.
func NewCache(bytes int) *Cache {
	return &Cache{configs: map[cacheKey]Config{}, most: bytes}
}

// Generate is [Generate], for a proxy whose configuration is kept without its work. It is safe for concurrent use, and
// for a nil cache, which keeps nothing.
func (m *Cache) Generate(p ir.Proxy) (Config, error) {
	if m == nil {
		return Generate(p)
	}
	key := keyOf(p)
	m.mu.Lock()
	known, ok := m.configs[key]
	m.mu.Unlock()
	if ok {
		return known, nil
	}
	return Generate(p) // outside of the lock: twice is better than in a row
}

// Keep has the configuration of a proxy kept, as [Cache.Generate] returned it. It is safe for concurrent use.
func (m *Cache) Keep(p ir.Proxy, made Config) {
	if m == nil {
		return
	}
	key, size := keyOf(p), made.size()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.configs[key]; known || size > m.most {
		return
	}
	if m.bytes+size > m.most {
		clear(m.configs)
		m.bytes = 0
	}
	m.configs[key] = made
	m.bytes += size
}

// keyOf distinguishes proxies without keeping what they say.
func keyOf(p ir.Proxy) cacheKey {
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%#v", p) // quotes every text, so that no two proxies look the same
	return cacheKey(hash.Sum(nil))
}

// size is how much memory a configuration in a cache takes, about.
func (c Config) size() int {
	total := len(cacheKey{}) + len(c.Bootstrap) + len(c.Listeners) + len(c.Clusters) + len(c.Authorization)
	for _, content := range append(c.CAs[:], c.Certificate) {
		total += len(content)
	}
	return total
}
