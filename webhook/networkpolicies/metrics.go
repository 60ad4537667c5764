package networkpolicies

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics say how many policies there should be, and how many of them are not as they should be.
type Metrics struct {
	policies *prometheus.GaugeVec

	mu          sync.Mutex
	byNamespace map[string]counts
}

// counts are those of a namespace.
type counts struct{ wanted, left, failed int }

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		policies: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "spire_injector_network_policies",
			Help: "NetworkPolicies of identities on the leading replica, by state: wanted; failed, of these, which could not be made, " +
				"changed or removed; left_out, identities that have none because pods without an Envoy share them.",
		}, []string{"state"}),
		byNamespace: map[string]counts{},
	}
	return m, registry.Register(m.policies)
}

func (m *Metrics) set(namespace string, wanted, left, failed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byNamespace[namespace] = (counts{wanted, left, failed}); m.byNamespace[namespace] == (counts{}) {
		delete(m.byNamespace, namespace)
	}
	var all counts
	for _, c := range m.byNamespace {
		all.wanted, all.left, all.failed = all.wanted+c.wanted, all.left+c.left, all.failed+c.failed
	}
	m.policies.WithLabelValues("wanted").Set(float64(all.wanted))
	m.policies.WithLabelValues("left_out").Set(float64(all.left))
	m.policies.WithLabelValues("failed").Set(float64(all.failed))
}

// reset forgets everything, because no policies are wanted.
func (m *Metrics) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byNamespace = map[string]counts{}
	m.policies.Reset()
}
