package entries

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Config is what a [Keeper] works with.
type Config struct {
	Cluster registrar.Cluster
	SPIRE   registrar.Entries
	Rules   Rules
	// Grace is how long an entry stays that nothing needs any more, Interval the time between two looks at everything.
	Grace, Interval time.Duration
	Metrics         prometheus.Registerer
	Event           func(about runtime.Object, eventType string, why reason.Reason, note string)
}

// Rules are what admission goes by, as they are in force at each call.
type Rules struct {
	NeedsOfPod      func(ns *corev1.Namespace, pod *corev1.Pod) registrar.Needs
	NeedsOfTemplate func(ns *corev1.Namespace, template *corev1.Pod) registrar.Needs
	// Served says of which namespaces, by their labels, the API server asks this injector about pods: what nobody injects needs no
	// identity of ours. The error is why that is not known, and with it whose the pods of any namespace are.
	Served func(ctx context.Context) (func(namespaceLabels map[string]string) bool, error)
}

// Keeper keeps SPIRE at what the pods and pod templates of a cluster need. It has two parts for a manager to run: every replica
// watches, because who knows which identities are in use need not ask SPIRE; and the leading one reconciles.
type Keeper struct {
	mgr        ctrl.Manager
	config     Config
	demand     *registrar.Demand
	reconciler *registrar.Reconciler
	watcher    *watcher
	// reconsidered gets a value when what objects need has to be looked at again.
	reconsidered chan struct{}
	complete     chan struct{} // closed when every object was looked at
}

// part is a Runnable.
type part struct {
	start  func(ctx context.Context) error
	leader bool
}

// Start implements the manager's Runnable.
func (p part) Start(ctx context.Context) error { return p.start(ctx) }

// NeedLeaderElection says which replicas run it.
func (p part) NeedLeaderElection() bool { return p.leader }

// Watching is the part of every replica.
func (k *Keeper) Watching() manager.Runnable { return part{start: k.watch} }

// Reconciling is the part of the leading replica.
func (k *Keeper) Reconciling() manager.Runnable { return part{start: k.reconcile, leader: true} }

// Confirmed says whether a pod that runs was registered by just this entry.
func (k *Keeper) Confirmed(e registrar.Entry) bool { return k.demand.Confirmed(e) }

// New returns a keeper that does nothing before it is started by a manager, or asked for a plan.
func New(mgr ctrl.Manager, c Config) *Keeper {
	k := &Keeper{mgr: mgr, config: c, demand: registrar.NewDemand(c.Cluster), reconsidered: make(chan struct{}, 1), complete: make(chan struct{})}
	logger := mgr.GetLogger().WithName("registration")
	k.reconciler = registrar.NewReconciler(c.Cluster, c.SPIRE, k.demand, registrar.ReconcilerOptions{Grace: c.Grace, Interval: c.Interval})
	k.watcher = &watcher{
		cache: mgr.GetCache(), rules: c.Rules, demand: k.demand, changed: k.reconciler.Changed,
		unknown: k.pause,
		failed:  func(err error, message string) { logger.Error(err, message) },
	}
	return k
}

// pause has SPIRE left alone while it is not known what the cluster needs.
func (k *Keeper) pause(why error) {
	k.reconciler.Pause(why != nil)
	if why != nil {
		k.mgr.GetLogger().WithName("registration").Error(why, "no entry is added or removed until it is known")
	}
}

// watch keeps the demand at what the cluster needs until ctx is done.
func (k *Keeper) watch(ctx context.Context) error {
	start := time.Now()
	if err := k.watcher.start(ctx); err != nil {
		return err
	}
	k.mgr.GetLogger().WithName("registration").Info("every object was looked at", "entries", k.demand.Len(), "duration", time.Since(start))
	close(k.complete)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.reconsidered:
			_ = k.watcher.all(ctx, "") // if it is not known which are ours, all are looked at when it is
		}
	}
}

// reconcile keeps SPIRE at the demand until ctx is done. What is not needed may be removed, so the demand has to be complete.
func (k *Keeper) reconcile(ctx context.Context) error {
	metrics, err := newCollectors(k.config.Metrics, k.reconciler.Queued)
	if err != nil {
		return err
	}
	report := reporter{logger: k.mgr.GetLogger().WithName("registration"), cache: k.mgr.GetCache(), event: k.config.Event}
	k.reconciler.OnOutcome(func(o registrar.Outcome) {
		metrics.outcome(o)
		report.outcome(ctx, o)
	})
	k.reconciler.OnPass(func(p registrar.Pass) {
		metrics.pass(p)
		report.pass(ctx, p)
	})
	select {
	case <-ctx.Done():
	case <-k.complete:
		k.reconciler.Run(ctx)
	}
	return nil
}

// Reconsider has all objects looked at soon, after the platform file changed.
func (k *Keeper) Reconsider() {
	select {
	case k.reconsidered <- struct{}{}:
	default:
	}
}

// Resync has all entries in SPIRE compared soon, because SPIRE was away and may have lost everything, or because it has a bundle
// that entries may have waited for.
func (k *Keeper) Resync() { k.reconciler.Resync() }

// Plan returns what the reconciler would do, and does nothing. The manager's cache has to be running.
func (k *Keeper) Plan(ctx context.Context) ([]registrar.Step, error) {
	if err := k.watcher.start(ctx); err != nil {
		return nil, err
	}
	if _, err := k.watcher.rules.Served(ctx); err != nil {
		return nil, err
	}
	return k.reconciler.Plan(ctx)
}
