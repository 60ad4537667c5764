package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/networkpolicies"
)

// addNetworkPolicies lets the leading replica keep the NetworkPolicies that the platform file asks for, whenever it does.
func (s *server) addNetworkPolicies(context.Context) error {
	state, err := networkpolicies.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("setting up what keeps NetworkPolicies: %w", err)
	}
	mgr := s.manager
	logger := mgr.GetLogger().WithName("network-policies")
	serves := webhook.ServedBy(mgr.GetCache(), s.flags.webhookConfig)
	events := eventsOf(mgr, "Isolate")
	controller := networkpolicies.New(networkpolicies.Config{
		Platform: func() intent.Platform { return s.inForce.Get().Platform },
		Injector: s.flags.namespace,
		Cache:    mgr.GetCache(),
		Policies: func() (cache.Cache, error) {
			return cache.New(mgr.GetConfig(), cache.Options{
				HTTPClient: mgr.GetHTTPClient(),
				Scheme:     mgr.GetScheme(),
				Mapper:     mgr.GetRESTMapper(),
				ByObject:   networkpolicies.Watched(s.flags.namespace),
			})
		},
		Direct: mgr.GetAPIReader(),
		Writer: mgr.GetClient(),
		Served: func(ctx context.Context) (func(map[string]string) bool, error) { return serves(ctx) },
		Event: func(about runtime.Object, why reason.Reason, note string) {
			if about == nil {
				var err error
				if about, err = platformSource(mgr.GetClient(), s.flags); err != nil {
					logger.Error(err, "there is no event of it", "reason", why)
					return
				}
			}
			events.Event(about, why.EventType(nil), why, note)
		},
		Metrics: state,
		Logger:  logger,
	})
	s.inForce.OnChange(controller.PlatformChanged)
	return mgr.Add(controller)
}
