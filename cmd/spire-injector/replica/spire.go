package replica

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// SPIREMetrics measure the calls to the SPIRE server.
type SPIREMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewSPIREMetrics registers the metrics.
func NewSPIREMetrics(r prometheus.Registerer) (*SPIREMetrics, error) {
	m := &SPIREMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_spire_requests_total",
			Help: "Calls to the SPIRE server, by method and gRPC status code.",
		}, []string{"method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "spire_injector_spire_request_duration_seconds",
			Help:    "Time until the SPIRE server answered a call, by method.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method"}),
	}
	return m, register(r, m.requests, m.duration)
}

// Observe counts a call that was answered.
func (m *SPIREMetrics) Observe(method string, code codes.Code, took time.Duration) {
	m.requests.WithLabelValues(method, code.String()).Inc()
	m.duration.WithLabelValues(method).Observe(took.Seconds())
}
