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
	packer  *packer // nil before the first is kept
	configs map[cacheKey][]byte
	bytes   int
	most    int
}

type cacheKey [sha256.Size]byte

// NewCache returns a cache of at most so many bytes of configurations, which are packed. When it is full it starts over.
func NewCache(bytes int) *Cache {
	return &Cache{configs: map[cacheKey][]byte{}, most: bytes}
}

// Generate is [Generate], for a proxy whose configuration is kept without its work. It is safe for concurrent use, and
// for a nil cache, which keeps nothing.
func (m *Cache) Generate(p ir.Proxy) (Config, error) {
	if m == nil {
		return Generate(p)
	}
	key := keyOf(p)
	m.mu.Lock()
	packed, ok := m.configs[key]
	packer := m.packer
	m.mu.Unlock()
	if ok {
		if known, err := packer.unpack(packed); err == nil {
			return known, nil
		}
	}
	return Generate(p) // outside of the lock: twice is better than in a row
}

// Keep has the configuration of a proxy kept, as [Cache.Generate] returned it. It is safe for concurrent use.
func (m *Cache) Keep(p ir.Proxy, made Config) {
	if m == nil {
		return
	}
	key := keyOf(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.configs[key]; known {
		return
	}
	packed, err := m.packed(made)
	size := len(key) + len(packed)
	if err != nil || size > m.most { // what is not kept is generated again
		return
	}
	if m.bytes+size > m.most {
		clear(m.configs)
		m.bytes = 0
	}
	m.configs[key] = packed
	m.bytes += size
}

func (m *Cache) packed(made Config) ([]byte, error) {
	if m.packer == nil {
		var err error
		if m.packer, err = newPacker(made); err != nil {
			return nil, err
		}
	}
	return m.packer.pack(made)
}

// keyOf distinguishes proxies without keeping what they say.
func keyOf(p ir.Proxy) cacheKey {
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%#v", p) // quotes every text, so that no two proxies look the same
	return cacheKey(hash.Sum(nil))
}
