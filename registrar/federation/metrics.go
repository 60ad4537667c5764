package federation

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Results of a fetch, as the metric has them.
const (
	success = "success"
	failure = "failure"
)

// collectors are the metrics of the leading replica; the others do not export them. They have a series for each trust
// domain of the platform file.
type collectors struct {
	refreshes *prometheus.CounterVec
	changes   *prometheus.CounterVec
	last      *prometheus.GaugeVec
	interval  *prometheus.GaugeVec
	inPlace   *prometheus.GaugeVec
	present   *prometheus.GaugeVec
}

// trustDomain is the label that all have.
const trustDomain = "trust_domain"

func newCollectors(r prometheus.Registerer) (*collectors, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{trustDomain})
	}
	m := &collectors{
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_federation_refreshes_total",
			Help: "Fetches of the bundles of federated trust domains, by result (success, failure).",
		}, []string{trustDomain, "result"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spire_injector_federation_bundle_changes_total",
			Help: "Fetches that brought other keys of a federated trust domain than the one before.",
		}, []string{trustDomain}),
		last: gauge(
			"spire_injector_federation_last_refresh_timestamp_seconds",
			"When SPIRE last fetched the bundle of a federated trust domain; before the first time, since when this replica has tried.",
		),
		interval: gauge(
			"spire_injector_federation_refresh_interval_seconds",
			"Time between two fetches of the bundle of a federated trust domain, by the platform file.",
		),
		inPlace: gauge(
			"spire_injector_federation_relationship_in_place",
			"1 if SPIRE has the relationship with a federated trust domain as the platform file says, 0 if not; absent before it was asked.",
		),
		present: gauge(
			"spire_injector_federation_bundle_present",
			"1 if SPIRE has a bundle of a federated trust domain, 0 if not; absent before it was asked.",
		),
	}
	for _, c := range []prometheus.Collector{m.refreshes, m.changes, m.last, m.interval, m.inPlace, m.present} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *collectors) adopted(d *domain) {
	td := d.TrustDomain.Name()
	for _, result := range []string{success, failure} {
		m.refreshes.WithLabelValues(td, result) // so that there is a 0 to count from
	}
	m.changes.WithLabelValues(td)
	m.last.WithLabelValues(td).Set(float64(d.freshness.Fetched.Unix()))
	m.interval.WithLabelValues(td).Set(d.Refresh.Seconds())
}

// seen shows what SPIRE was found to have.
func (m *collectors) seen(d *domain) {
	td := d.TrustDomain.Name()
	if d.compared {
		m.inPlace.WithLabelValues(td).Set(number(d.inPlace))
	}
	if d.seen {
		m.present.WithLabelValues(td).Set(number(d.present))
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (m *collectors) fetched(d *domain, err error) {
	result := success
	if err != nil {
		result = failure
	}
	m.refreshes.WithLabelValues(d.TrustDomain.Name(), result).Inc()
	m.last.WithLabelValues(d.TrustDomain.Name()).Set(float64(d.freshness.Fetched.Unix()))
}

func (m *collectors) changed(d *domain) { m.changes.WithLabelValues(d.TrustDomain.Name()).Inc() }

func (m *collectors) forget(d *domain) {
	series := prometheus.Labels{trustDomain: d.TrustDomain.Name()}
	m.refreshes.DeletePartialMatch(series)
	m.changes.Delete(series)
	m.last.Delete(series)
	m.interval.Delete(series)
	m.inPlace.Delete(series)
	m.present.Delete(series)
}
