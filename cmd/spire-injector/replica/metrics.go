package replica

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Process is what is measured of a replica, whatever it does.
type Process struct {
	Version string
	// Certificate and SVID return when the serving certificate and the own X.509-SVID expire, or false while there is
	// none.
	Certificate, SVID func() (time.Time, bool)
	// Lifetime returns how long the serving certificate is valid in all, or false while there is none.
	Lifetime func() (time.Duration, bool)
}

// Register makes known what the process is, and until when it can do its work.
func (p Process) Register(r prometheus.Registerer) error {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "spire_injector_build_info",
		Help: "1, by the version of the program.",
	}, []string{"version"})
	build.WithLabelValues(p.Version).Set(1)
	return register(r, build,
		newExpiry("spire_injector_serving_certificate_expiry_timestamp_seconds",
			"When the certificate expires that the API server is shown, in seconds since 1970; absent before there is one.",
			p.Certificate),
		gauge{
			desc: prometheus.NewDesc("spire_injector_serving_certificate_lifetime_seconds",
				"How long that certificate is valid in all: of a short one little is left before it is renewed.", nil, nil),
			value: func() (float64, bool) {
				lifetime, ok := p.Lifetime()
				return lifetime.Seconds(), ok
			},
		},
		newExpiry(
			"spire_injector_svid_expiry_timestamp_seconds",
			"When the injector's own X.509-SVID expires, in seconds since 1970; absent before there is one, "+
				"and over the SPIRE server's socket.",
			p.SVID,
		))
}

func register(r prometheus.Registerer, collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// gauge is a metric of something that may not be there. Without it there is no metric.
type gauge struct {
	desc  *prometheus.Desc
	value func() (float64, bool)
}

// newExpiry is the gauge of when something expires: 0 would be long ago.
func newExpiry(name, help string, at func() (time.Time, bool)) gauge {
	return gauge{desc: prometheus.NewDesc(name, help, nil, nil), value: func() (float64, bool) {
		expiry, ok := at()
		return float64(expiry.Unix()), ok
	}}
}

// Describe implements prometheus.Collector.
func (g gauge) Describe(descs chan<- *prometheus.Desc) { descs <- g.desc }

// Collect implements prometheus.Collector.
func (g gauge) Collect(metrics chan<- prometheus.Metric) {
	if value, ok := g.value(); ok {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value)
	}
}
