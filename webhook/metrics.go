package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Metrics counts the API server's requests and measures the answers. Every label has few values, all known before:
// names of pods, identities and messages are in the log.
type Metrics struct {
	admissions *prometheus.CounterVec
	duration   *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_admissions_total",
			Help: "Requests of the API server that were answered, by webhook (mutate-pod, validate-pod, validate-workload), " +
				"operation, decision (admitted, refused) and its reason.",
		}, []string{"webhook", "operation", "decision", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spire_injector_admission_duration_seconds",
			Help: "Time to answer a request of the API server, the registration in SPIRE included, by webhook and operation.",
			// From a decision out of memory to the longest wait for SPIRE.
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"webhook", "operation"}),
	}
	for _, c := range []prometheus.Collector{m.admissions, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts one answer. Without metrics nothing is counted.
func (m *Metrics) observe(
	webhook string, operation admissionv1.Operation, decision string, reason reason.Reason, took time.Duration,
) {
	if m == nil {
		return
	}
	m.admissions.WithLabelValues(webhook, operationOf(operation), decision, string(reason)).Inc()
	m.duration.WithLabelValues(webhook, operationOf(operation)).Observe(took.Seconds())
}

// otherOperation is the label of what nobody sends but who makes requests up.
const otherOperation = "other"

// operationOf is the label of an operation: one of those that the webhooks are registered for, or otherOperation.
func operationOf(operation admissionv1.Operation) string {
	switch operation {
	case admissionv1.Create, admissionv1.Update:
		return string(operation)
	default:
		return otherOperation
	}
}
