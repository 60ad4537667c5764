package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/replica"
	"github.com/spire-injector/spire-injector/webhook/connections"
)

// nowhere is the address of a port that is not opened.
const nowhere = "0"

// addHealth answers the kubelet's probes.
func (s *server) addHealth(ctx context.Context) error {
	readiness := replica.Readiness{
		Certificate: func() error { return s.certificate.Trusted(time.Now()) },
		Identity:    s.spire.Ready,
	}
	return s.addPort(ctx, "health", s.flags.healthAddress, nil, readiness.Handler(s.manager))
}

// addMetrics answers Prometheus: everybody in plain text, or with --metrics-secure over TLS who has a token that the API
// server knows and lets get metrics.
func (s *server) addMetrics(ctx context.Context) error {
	const name = "metrics"
	var handler http.Handler = promhttp.HandlerFor(metrics.Registry,
		promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	var configureTLS func(*tls.Config)
	if s.flags.metricsSecure {
		filter, err := filters.WithAuthenticationAndAuthorization(s.manager.GetConfig(), s.manager.GetHTTPClient())
		if err != nil {
			return err
		}
		if handler, err = filter(s.logger.WithName(name), handler); err != nil {
			return err
		}
		configureTLS = func(c *tls.Config) { c.GetCertificate = s.certificate.Get }
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	return s.addPort(ctx, name, s.flags.metricsAddress, configureTLS, mux)
}

// addPort opens a port of every replica beside the webhook's.
func (s *server) addPort(
	ctx context.Context, name, address string, configureTLS func(*tls.Config), handler http.Handler,
) error {
	if address == nowhere {
		return nil
	}
	port, err := connections.Listen(ctx, connections.Options{
		Port:         name,
		Address:      address,
		ConfigureTLS: configureTLS,
		Bounds:       connections.ProbeBounds(),
		Registerer:   metrics.Registry,
		Logger:       s.logger.WithName(name),
	}, handler)
	if err != nil {
		return err
	}
	return s.manager.Add(port)
}
