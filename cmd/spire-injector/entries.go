package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/federation"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/cmd/spire-injector/registration"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
)

// newKeeper makes what keeps SPIRE's entries at what the cluster needs.
func newKeeper(mgr ctrl.Manager, f serveFlags, platform *platformfile.InForce, spire *spireapi.Client) *registration.Keeper {
	keeper := registration.New(mgr, registration.Config{
		Cluster: platform.Get().Platform.Cluster, SPIRE: spire, Injector: platform.Get, Configuration: f.webhookConfig,
		Grace: f.grace, Interval: f.resync, Metrics: metrics.Registry, Event: eventsOf(mgr, "Register").Event,
	})
	platform.OnChange(keeper.Reconsider)
	return keeper
}

// minGrace keeps an entry for longer than any replica takes it for granted, and than a pod is on its way from admission to a cache.
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
func printPlan(ctx context.Context, mgr ctrl.Manager, keeper *registration.Keeper, relationships *federation.Keeper, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- mgr.GetCache().Start(ctx) }()
	steps, err := keeper.Plan(ctx)
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
		err = registration.WritePlan(out, steps)
	}
	if len(create)+len(update) > 0 {
		err = errors.Join(err, federation.WritePlan(out, create, update))
	}
	return err
}
