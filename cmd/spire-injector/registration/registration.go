package registration

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook"
)

// Config is what a [Keeper] works with.
type Config struct {
	Cluster  registrar.Cluster
	SPIRE    registrar.Entries
	Injector func() webhook.Injector // the one in force
	// Configuration names the MutatingWebhookConfiguration of this injector.
	Configuration string
	// Grace is how long an entry stays that nothing needs any more, Interval the time between two looks at everything.
	Grace, Interval time.Duration
	Metrics         prometheus.Registerer
	Event           func(about runtime.Object, eventType, reason, note string)
}

// Keeper keeps SPIRE at what the pods and pod templates of a cluster need. It is a Runnable of a manager, on the leading replica
// only.
type Keeper struct {
	mgr        ctrl.Manager
	config     Config
	demand     *registrar.Demand
	reconciler *registrar.Reconciler
	watcher    *watcher
	// reconsidered gets a value when what objects need has to be looked at again.
	reconsidered chan struct{}
}

// New returns a keeper that does nothing before it is started by a manager, or asked for a plan.
func New(mgr ctrl.Manager, c Config) *Keeper {
	k := &Keeper{mgr: mgr, config: c, demand: registrar.NewDemand(c.Cluster), reconsidered: make(chan struct{}, 1)}
	logger := mgr.GetLogger().WithName("registration")
	k.reconciler = registrar.NewReconciler(c.Cluster, c.SPIRE, k.demand, registrar.ReconcilerOptions{Grace: c.Grace, Interval: c.Interval})
	k.watcher = &watcher{
		cache: mgr.GetCache(), injector: c.Injector, configuration: c.Configuration, demand: k.demand, changed: k.reconciler.Changed,
		failed: func(err error, message string) { logger.Error(err, message) },
	}
	return k
}

// NeedLeaderElection says that one replica is enough.
func (k *Keeper) NeedLeaderElection() bool { return true }

// Start watches and reconciles until ctx is done.
func (k *Keeper) Start(ctx context.Context) error {
	metrics, err := newCollectors(k.config.Metrics, k.reconciler.Queued)
	if err != nil {
		return err
	}
	logger := k.mgr.GetLogger().WithName("registration")
	report := reporter{logger: logger, cache: k.mgr.GetCache(), event: func(about runtime.Object, eventType string, reason registrar.Reason, note string) {
		k.config.Event(about, eventType, string(reason), note)
	}}
	k.reconciler.OnOutcome(func(o registrar.Outcome) {
		metrics.outcome(o)
		report.outcome(ctx, o)
	})
	k.reconciler.OnPass(func(p registrar.Pass) {
		metrics.pass(p)
		report.pass(ctx, p)
	})
	start := time.Now()
	if err := k.watcher.start(ctx); err != nil {
		return err
	}
	logger.Info("what the cluster needs is known", "entries", k.demand.Len(), "duration", time.Since(start))
	go k.follow(ctx)
	k.reconciler.Run(ctx)
	return nil
}

// Reconsider has all objects looked at soon, after the platform file changed.
func (k *Keeper) Reconsider() {
	select {
	case k.reconsidered <- struct{}{}:
	default:
	}
}

// LookAtAll has all entries in SPIRE looked at soon, because SPIRE was away and may have lost everything, or because it has a bundle
// that entries may have waited for.
func (k *Keeper) LookAtAll() { k.reconciler.LookAtAll() }

// follow looks again when what entries depend on beside the objects has changed.
func (k *Keeper) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.reconsidered:
			k.watcher.all(ctx, "")
		}
	}
}

// Plan returns what the reconciler would do, and does nothing. The manager's cache has to be running.
func (k *Keeper) Plan(ctx context.Context) ([]registrar.Step, error) {
	if err := k.watcher.start(ctx); err != nil {
		return nil, err
	}
	return k.reconciler.Plan(ctx)
}
