package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/entries"
	"github.com/spire-injector/spire-injector/registrar/federation"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// newEntriesController makes what keeps SPIRE's entries at what the cluster needs.
func newEntriesController(
	mgr ctrl.Manager,
	f serveFlags,
	platform *platformfile.InForce,
	spire *spireapi.Client,
) *entries.Controller {
	p := platform.Get().Platform
	controller := entries.New(entries.Config{
		Cluster:  p.Cluster,
		Prewarm:  p.Prewarm,
		SPIRE:    spire,
		Rules:    rulesOf(platform.Get, mgr.GetCache(), f.webhookConfig),
		Cache:    mgr.GetCache(),
		Grace:    f.grace,
		Interval: f.resync,
		Metrics:  metrics.Registry,
		Logger:   mgr.GetLogger().WithName("registration"),
		Event:    eventsOf(mgr, "Register").Event,
	})
	platform.OnChange(controller.RulesChanged)
	return controller
}

// rulesOf are those of the injector in force, and of the MutatingWebhookConfiguration that registers it.
func rulesOf(injector func() inject.Injector, cached client.Reader, configuration string) entries.Rules {
	servedBy := webhook.ServedBy(cached, configuration)
	return entries.Rules{
		NeedsOfPod: func(ns *corev1.Namespace, pod *corev1.Pod) registrar.Needs {
			return injector().NeedsOfPod(namespaceOf(ns), pod)
		},
		NeedsOfTemplate: func(ns *corev1.Namespace, template *corev1.Pod) registrar.Needs {
			return injector().NeedsOfTemplate(namespaceOf(ns), template)
		},
		Quarantined: func(id spiffeid.ID) bool {
			_, is := injector().Platform.Quarantined(id)
			return is
		},
		Served: func(ctx context.Context) (func(map[string]string) bool, error) {
			served, err := servedBy(ctx)
			if err != nil {
				return nil, fmt.Errorf(
					"nobody knows in which namespaces pods are ours: MutatingWebhookConfiguration %s: %w: apply it again, "+
						"or name another with --webhook-configuration",
					configuration,
					err,
				)
			}
			return served, nil
		},
	}
}

func namespaceOf(ns *corev1.Namespace) intent.Namespace {
	return intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
}

// minGrace keeps an entry for longer than any replica takes it for granted, and than a pod is on its way from admission
// to a cache.
const minGrace = time.Minute

func (f serveFlags) checkEntries() error {
	switch {
	case f.grace < minGrace:
		return fmt.Errorf("--entry-grace-time: expected %s or more, got %s", minGrace, f.grace)
	case f.resync < time.Second:
		return fmt.Errorf("--resync-interval: expected 1s or more, got %s", f.resync)
	}
	return nil
}

// printPlan prints what the leading replica would change in SPIRE.
func printPlan(
	ctx context.Context,
	mgr ctrl.Manager,
	controller *entries.Controller,
	relationships *federation.Syncer,
	out io.Writer,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- mgr.GetCache().Start(ctx) }()
	steps, err := controller.Plan(ctx)
	create, update, errFederation := relationships.Plan(ctx)
	cancel()
	if err := errors.Join(err, errFederation, <-ended); err != nil {
		return err
	}
	if len(steps)+len(create)+len(update) == 0 {
		_, err := fmt.Fprintln(out, "SPIRE holds what the cluster needs: nothing to do")
		return err
	}
	if len(steps) > 0 {
		err = entries.WritePlan(out, steps)
	}
	if len(create)+len(update) > 0 {
		err = errors.Join(err, federation.WritePlan(out, create, update))
	}
	return err
}
