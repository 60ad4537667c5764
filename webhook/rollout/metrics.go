package rollout

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spire-injector/spire-injector/templates/verdict"
)

// States of pods in the metric.
const (
	stateOutdated    = "outdated"
	stateRejected    = "rejected"
	stateNeedsNewPod = "needs_new_pod"
	stateInvalid     = "invalid"
	stateNeverTook   = "rejected_at_start"
)

// outcomeFailed is that of a change which the API server or our own webhook refused.
const outcomeFailed = "failed"

// outcomeChanged is that of a pod that was given whom to refuse.
const outcomeChanged = "changed"

// States of pods in the metric of the quarantine.
const (
	stateWaiting = "waiting"
	stateHolding = "holding"
)

// Metrics say how far running pods are. In replicas that do not lead they stay 0.
type Metrics struct {
	paused    prometheus.Gauge
	pods      *prometheus.GaugeVec
	refreshes *prometheus.CounterVec

	quarantinePods    *prometheus.GaugeVec
	quarantineChanges *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		paused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_rollout_paused",
			Help: "1 when outdated pods wait for somebody to act: the rate is 0, or pods reject what the others would get.",
		}),
		pods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "spire_injector_rollout_pods",
			Help: "Running pods that are not what their namespace, the platform file and the templates would make of them, by " +
				"state: outdated (wait for " +
				"their turn), rejected (their Envoy refuses what they were given), needs_new_pod (their ports or identity would " +
				"change), " +
				"invalid (their namespace or the platform file would have them refused), rejected_at_start (their Envoy refuses the " +
				"first that they were given).",
		}, []string{"state"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_rollout_refreshes_total",
			Help: "Changes of running pods, by outcome: taken, rejected, unknown (the pod does not say), failed (it was not " +
				"changed).",
		}, []string{"outcome"}),
	}
	m.quarantinePods = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "spire_injector_quarantine_pods",
		Help: "Running pods by what the list quarantine of the platform file has to do with them: waiting (do not refuse yet " +
			"whom they should), needs_new_pod (cannot be given whom to refuse: have to be deleted), holding (have an identity " +
			"of the list).",
	}, []string{"state"})
	m.quarantineChanges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spire_injector_quarantine_changes_total",
		Help: "Running pods that were given whom to refuse, or whom not to refuse any more, by outcome: changed, failed (tried " +
			"again).",
	}, []string{"outcome"})
	for _, state := range states() {
		m.pods.WithLabelValues(state)
	}
	for _, state := range []string{stateWaiting, stateNeedsNewPod, stateHolding} {
		m.quarantinePods.WithLabelValues(state)
	}
	for _, outcome := range []string{outcomeChanged, outcomeFailed} {
		m.quarantineChanges.WithLabelValues(outcome)
	}
	for _, outcome := range []string{string(verdict.Taken), string(verdict.Rejected), string(verdict.Unknown), outcomeFailed} {
		m.refreshes.WithLabelValues(outcome) // so that there is a 0 to count from
	}
	for _, c := range []prometheus.Collector{m.paused, m.pods, m.refreshes, m.quarantinePods, m.quarantineChanges} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func states() []string {
	return []string{stateOutdated, stateRejected, stateNeedsNewPod, stateInvalid, stateNeverTook}
}

func (m *Metrics) refreshed(outcome string) { m.refreshes.WithLabelValues(outcome).Inc() }

func (m *Metrics) quarantined(outcome string) { m.quarantineChanges.WithLabelValues(outcome).Inc() }

func (m *Metrics) update(r *Rollout) {
	m.quarantinePods.WithLabelValues(stateWaiting).Set(float64(len(r.urgent.pods)))
	m.quarantinePods.WithLabelValues(stateNeedsNewPod).Set(float64(len(r.unsafe)))
	m.quarantinePods.WithLabelValues(stateHolding).Set(float64(len(r.held)))
	plan := r.plan
	count := map[string]int{stateOutdated: plan.Outdated(), stateRejected: plan.Rejecting(), stateNeverTook: len(r.first.rejected)}
	maps.Copy(count, r.stuck.count)
	for _, state := range states() {
		m.pods.WithLabelValues(state).Set(float64(count[state]))
	}
	paused := 0.
	if plan.Paused() {
		paused = 1
	}
	m.paused.Set(paused)
}

// podStates are states of pods, and how many are in each.
type podStates struct {
	of    map[Pod]string
	count map[string]int
}

func newPodStates() podStates { return podStates{of: map[Pod]string{}, count: map[string]int{}} }

func (s podStates) set(pod Pod, state string) {
	s.forget(pod)
	s.of[pod] = state
	s.count[state]++
}

func (s podStates) forget(pod Pod) {
	if state, known := s.of[pod]; known {
		delete(s.of, pod)
		s.count[state]--
	}
}
