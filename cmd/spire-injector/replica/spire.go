package main

import (
	"fmt"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/webhook"
)

// dialSPIRE returns at once: the server and the own agent may come later.
func dialSPIRE(f serveFlags, platform webhook.Platform, r prometheus.Registerer) (*spireapi.Client, error) {
	requests, err := newSPIREMetrics(r)
	if err != nil {
		return nil, err
	}
	agent := f.workloadAPI
	if agent == "" {
		agent = "unix://" + path.Join(platform.AgentSocket.HostPath, platform.AgentSocket.File)
	}
	client, err := spireapi.Dial(spireapi.Config{
		ServerAddress: platform.ServerAddress, AgentSocket: agent, TrustDomain: platform.Cluster.TrustDomain, Observe: requests.observe,
	})
	if err != nil {
		return nil, fmt.Errorf("platform file %s: spire.server.address: %w", f.config, err)
	}
	return client, nil
}

// spireMetrics measure the calls to the SPIRE server.
type spireMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newSPIREMetrics(r prometheus.Registerer) (*spireMetrics, error) {
	m := &spireMetrics{
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
	for _, c := range []prometheus.Collector{m.requests, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *spireMetrics) observe(method string, code codes.Code, took time.Duration) {
	m.requests.WithLabelValues(method, code.String()).Inc()
	m.duration.WithLabelValues(method).Observe(took.Seconds())
}
