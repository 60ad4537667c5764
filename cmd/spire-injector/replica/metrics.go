package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spire-injector/spire-injector/registrar/spireapi"
)

// registerMetrics makes known what the process is, and until when it can do its work.
func registerMetrics(r prometheus.Registerer, version string, certificate *servingCertificate, spire *spireapi.Client) error {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "spire_injector_build_info",
		Help: "1, by the version of the program.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	for _, c := range []prometheus.Collector{
		build,
		newExpiry("spire_injector_serving_certificate_expiry_timestamp_seconds",
			"When the certificate expires that the API server is shown, in seconds since 1970; absent before there is one.", certificate.expiry),
		newExpiry("spire_injector_svid_expiry_timestamp_seconds",
			"When the injector's own X.509-SVID expires, in seconds since 1970; absent before there is one, and over the SPIRE server's socket.",
			spire.SVIDExpiry),
	} {
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
