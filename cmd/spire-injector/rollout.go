package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/webhook/rollout"
)

// calm is longer than a replica takes to end.
const calm = 30 * time.Second

// parseRolloutRate reads the flag --rollout-rate.
func parseRolloutRate(flag string) (rate.Limit, error) {
	limit, err := rollout.ParseRate(flag)
	if err != nil {
		return 0, usageError{fmt.Errorf("--rollout-rate: %w", err)}
	}
	return limit, nil
}

// addRollout lets the leading replica carry changes of namespaces, of the platform and, by its own start, of the
// templates to running pods.
func (s *server) addRollout(ctx context.Context) error {
	if err := s.setUpRollout(ctx); err != nil {
		return fmt.Errorf("setting up what carries changes to running pods: %w", err)
	}
	return nil
}

func (s *server) setUpRollout(ctx context.Context) error {
	state, err := rollout.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	mgr := s.manager
	r := rollout.New(rollout.Config{
		Injector: s.inForce.Get,
		Cluster: &rollout.APIServer{
			Cached: mgr.GetClient(), Direct: mgr.GetAPIReader(), Writer: mgr.GetClient(), Configuration: s.flags.webhookConfig,
		},
		Envoys:  rollout.NewByHTTP(),
		Rate:    s.rolloutRate,
		Metrics: state,
		Logger:  mgr.GetLogger().WithName("rollout"),
		Calm:    calm,
		Event:   eventsOf(mgr, "Refresh").Related,
	})
	s.inForce.OnChange(r.PlatformChanged)
	err = watch(ctx, mgr, &corev1.Namespace{}, func(object any) {
		if ns, ok := object.(*corev1.Namespace); ok {
			r.NamespaceChanged(ns.Name)
		}
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(r); err != nil {
		return err
	}
	return mgr.Add(&rollout.PodWatch{Cache: mgr.GetCache(), Rollout: r})
}
