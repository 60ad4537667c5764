package entries

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Kinds of passes, as metrics have them.
const (
	kindFull    = "full"
	kindChanges = "changes"
)

// collectors are the metrics of the leading replica; the others do not export them.
type collectors struct {
	entries     *prometheus.GaugeVec
	rows        *prometheus.GaugeVec
	changes     *prometheus.CounterVec
	passes      *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	lastSuccess prometheus.Gauge
	pendingPods prometheus.Gauge
	now         func() time.Time
}

func newCollectors(r prometheus.Registerer, queued func() int) (*collectors, error) {
	m := &collectors{
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "spire_injector_entries",
			Help: "Registration entries by state: wanted (something needs it), registered (ours, in SPIRE), missing (wanted and not in SPIRE), " +
				"orphaned (to be removed after the grace period), refused (SPIRE or an entry of others stands in the way), " +
				"without_bundle (lacks a federated trust domain whose bundle SPIRE does not have).",
		}, []string{"state"}),
		rows: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "spire_injector_rows",
			Help: "Rows, by which the agents of nodes are authorized for the identities of their pods, by state: wanted (pods are there), " +
				"registered (ours, in SPIRE), missing (wanted and not in SPIRE), orphaned (to be removed after the grace period), " +
				"refused (SPIRE or an entry of others stands in the way).",
		}, []string{"state"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_entry_changes_total",
			Help: "Changes of registration entries by the reconciler, by action (create, update, refuse, remove), its reason and result (success, failure).",
		}, []string{"action", "reason", "result"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_reconciles_total",
			Help: "Comparisons of what is wanted with what SPIRE holds, by kind (full, changes) and result (success, failure).",
		}, []string{"kind", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "spire_injector_reconcile_duration_seconds",
			Help:    "Time of a comparison and what it led to, by kind (full, changes).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"kind"}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_reconcile_last_success_timestamp_seconds",
			Help: "When everything was last compared without an error.",
		}),
		pendingPods: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "spire_injector_pending_pods",
			Help: "Pods that wait because their registration entry, or the row of their node, is not in SPIRE.",
		}),
		now: time.Now,
	}
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "spire_injector_reconcile_queue_length",
		Help: "Entries that wait to be compared.",
	}, func() float64 { return float64(queued()) })
	for _, kind := range []string{kindFull, kindChanges} {
		for _, result := range []string{"success", "failure"} {
			m.passes.WithLabelValues(kind, result) // so that there is a 0 to count from
		}
	}
	for _, lost := range []reason.Reason{reason.EntryDeletedByOthers, reason.RowDeletedByOthers} {
		m.changes.WithLabelValues(registrar.Create.String(), lost.String(), "success")
	}
	for _, c := range []prometheus.Collector{m.entries, m.rows, m.changes, m.passes, m.duration, m.lastSuccess, m.pendingPods, queue} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *collectors) outcome(o registrar.Outcome) {
	if o.Action == registrar.Keep && o.Err == nil {
		return
	}
	m.changes.WithLabelValues(o.Action.String(), o.Why.String(), result(o.Err)).Inc()
}

func (m *collectors) pass(p registrar.Pass) {
	kind := kindChanges
	if p.Full {
		kind = kindFull
	}
	m.passes.WithLabelValues(kind, result(p.Err)).Inc()
	m.duration.WithLabelValues(kind).Observe(p.Took.Seconds())
	if p.Full && p.Err == nil {
		m.lastSuccess.Set(float64(m.now().Unix()))
	}
	m.pendingPods.Set(float64(p.Counts.PendingPods))
	set(m.entries, p.Counts.States)
	m.entries.WithLabelValues("without_bundle").Set(float64(p.Counts.WithoutBundle))
	set(m.rows, p.Counts.Rows)
}

func set(gauge *prometheus.GaugeVec, s registrar.States) {
	for state, n := range map[string]int{
		"wanted": s.Wanted, "registered": s.Registered, "missing": s.Missing, "orphaned": s.Orphaned, "refused": s.Refused,
	} {
		gauge.WithLabelValues(state).Set(float64(n))
	}
}

func result(err error) string {
	if err != nil {
		return "failure"
	}
	return "success"
}
