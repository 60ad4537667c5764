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

// expiry is the metric of something that expires. Without that there is no metric: 0 would be long ago.
type expiry struct {
	desc *prometheus.Desc
	at   func() (time.Time, bool)
}

func newExpiry(name, help string, at func() (time.Time, bool)) expiry {
	return expiry{desc: prometheus.NewDesc(name, help, nil, nil), at: at}
}

// Describe implements prometheus.Collector.
func (e expiry) Describe(descs chan<- *prometheus.Desc) { descs <- e.desc }

// Collect implements prometheus.Collector.
func (e expiry) Collect(metrics chan<- prometheus.Metric) {
	if at, ok := e.at(); ok {
		metrics <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, float64(at.Unix()))
	}
}
