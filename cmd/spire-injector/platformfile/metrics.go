package platformfile

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of a reload, as the metric has them.
const (
	reloadTaken   = "success"
	reloadRefused = "failure"
)

// Metrics say whether what the replicas work by is what was written last.
type Metrics struct {
	reloads   *prometheus.CounterVec
	succeeded prometheus.Gauge
	hash      prometheus.Gauge
}

// Hash stands for the content of a file: 48 bits, all of which the number of a metric keeps.
func Hash(file []byte) float64 {
	sum := sha256.Sum256(file)
	return float64(binary.BigEndian.Uint64(sum[:8]) >> 16)
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_config_reloads_total",
			Help: "Changed platform files, by result: success, or failure, where the old one stays in force.",
		}, []string{"result"}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_config_last_reload_successful",
			Help: "1 when the newest platform file is in force, 0 when it was refused.",
		}),
		hash: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_config_hash",
			Help: "Hash of the platform file in force: equal at replicas that work by the same file.",
		}),
	}
	for _, result := range []string{reloadTaken, reloadRefused} {
		m.reloads.WithLabelValues(result) // so that there is a 0 to count from
	}
	for _, c := range []prometheus.Collector{m.reloads, m.succeeded, m.hash} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) taken(file []byte) {
	m.reloads.WithLabelValues(reloadTaken).Inc()
	m.succeeded.Set(1)
	m.hash.Set(Hash(file))
}

func (m *Metrics) rejected() {
	m.reloads.WithLabelValues(reloadRefused).Inc()
	m.succeeded.Set(0)
}
