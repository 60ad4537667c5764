package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/replica"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/federation"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
)

// patience is how long SPIRE is given to take up a federation relationship by itself.
const patience = 2 * time.Second

// newFederationSyncer lets the leading replica keep SPIRE's federation relationships at what the platform file says.
// Arrived is called when a bundle has come.
func newFederationSyncer(
	mgr ctrl.Manager,
	f serveFlags,
	platform *platformfile.InForce,
	spire *spireapi.Client,
	arrived func(),
) *federation.Syncer {
	syncer := federation.New(federation.Config{
		SPIRE:    spire,
		Wanted:   func() []registrar.Federated { return platform.Get().Platform.Federation },
		Interval: f.resync,
		Patience: patience,
		Arrived:  arrived,
		Logger:   mgr.GetLogger().WithName("federation"),
		Metrics:  metrics.Registry,
		Event:    federationEvents(mgr, f),
	})
	platform.OnChange(syncer.RelationshipsChanged)
	return syncer
}

// federationEvents makes events about what the platform file is from.
func federationEvents(mgr ctrl.Manager, f serveFlags) func(eventType string, why reason.Reason, note string) {
	events := eventsOf(mgr, "Federate")
	return func(eventType string, why reason.Reason, note string) {
		about, err := platformSource(mgr.GetClient(), f)
		if err != nil {
			mgr.GetLogger().WithName("federation").Error(err, "there is no event of it", "reason", why)
			return
		}
		events.Event(about, eventType, why, note)
	}
}

// platformSource is the ConfigMap of the platform file, or the own pod if that is not known.
func platformSource(cached client.Reader, f serveFlags) (runtime.Object, error) {
	if f.configMap == "" {
		return replica.OwnPod(f.namespace)
	}
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: f.configMap}}
	return configMap, cached.Get(context.Background(), client.ObjectKeyFromObject(configMap), configMap)
}

// afterReconnecting notifies all listeners each time that SPIRE is back, on the leading replica, where they work.
func afterReconnecting(reconnected <-chan struct{}, listeners ...func()) manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-reconnected:
				for _, notify := range listeners {
					notify()
				}
			}
		}
	})
}
