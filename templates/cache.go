package templates

import (
	"fmt"
	"sync"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Cache generates each configuration once for the many pods that share it: a workload's replicas differ in nothing.
type Cache struct {
	mu      sync.Mutex
	configs map[string]Config
	limit   int
}

// NewCache returns a cache of at most limit configurations, some 10 to 250 KB each. When it is full it starts over.
func NewCache(limit int) *Cache {
	return &Cache{configs: map[string]Config{}, limit: limit}
}

// Generate is [Generate]. It is safe for concurrent use.
func (m *Cache) Generate(p ir.Proxy) (Config, error) {
	key := fmt.Sprintf("%#v", p) // quotes every text, so that no two proxies look the same
	m.mu.Lock()
	known, ok := m.configs[key]
	m.mu.Unlock()
	if ok {
		return known, nil
	}
	made, err := Generate(p) // outside of the lock: twice is better than in a row
	if err != nil {
		return Config{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.configs) >= m.limit {
		clear(m.configs)
	}
	m.configs[key] = made
	return made, nil
}
