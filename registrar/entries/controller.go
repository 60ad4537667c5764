package entries

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Config is what a [Controller] works with.
type Config struct {
	Cluster registrar.Cluster
	SPIRE   registrar.Entries
	Rules   Rules
	// Cache has what [Watched] says of the objects that need identities, their namespaces, and webhook configurations.
	Cache cache.Cache
	// Prewarm has what pods are made of need its identities too, before there are pods.
	Prewarm bool
	// Grace is how long an entry stays that nothing needs any more, Interval the time between two resyncs of SPIRE.
	Grace, Interval time.Duration
	Metrics         prometheus.Registerer
	Logger          logr.Logger
	Event           func(about runtime.Object, eventType string, why reason.Reason, note string)
}

// Rules are what admission goes by, as they are in force at each call.
type Rules struct {
	NeedsOfPod      func(ns *corev1.Namespace, pod *corev1.Pod) registrar.Needs
	NeedsOfTemplate func(ns *corev1.Namespace, template *corev1.Pod) registrar.Needs
	// Quarantined says of an identity that no agent may have it.
	Quarantined func(id spiffeid.ID) bool
	// Served says of which namespaces, by their labels, the API server asks this injector about pods: what nobody
	// injects needs no identity of ours. The error is why that is not known, and with it whose the pods of any
	// namespace are.
	Served func(ctx context.Context) (func(namespaceLabels map[string]string) bool, error)
}

// Controller makes SPIRE hold what the pods and pod templates of a cluster need. It has two parts for a manager to run:
// every replica watches, because who knows which identities are in use need not ask SPIRE; and the leading one
// reconciles.
type Controller struct {
	config     Config
	demand     *registrar.Demand
	reconciler *registrar.Reconciler
	watcher    *watcher
	rules      chan struct{} // gets a value when the rules have changed
	complete   chan struct{} // closed when the demand is
}

// New returns a controller that does nothing before it is started by a manager, or asked for a plan.
func New(config Config) *Controller {
	c := &Controller{
		config:   config,
		demand:   registrar.NewDemand(config.Cluster),
		rules:    make(chan struct{}, 1),
		complete: make(chan struct{}),
	}
	c.reconciler = registrar.NewReconciler(config.Cluster, config.SPIRE, c.demand, registrar.ReconcilerOptions{
		Grace:       config.Grace,
		Interval:    config.Interval,
		Quarantined: config.Rules.Quarantined,
	})
	c.watcher = &watcher{
		cache:   config.Cache,
		rules:   config.Rules,
		demand:  c.demand,
		kinds:   kindsOf(config.Prewarm),
		nodes:   config.Cluster.Scope != registrar.ScopeCluster,
		changed: c.reconciler.Changed,
		gone:    c.reconciler.NodeGone,
		unknown: c.pause,
		logger:  config.Logger,
	}
	return c
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
func (c *Controller) Watching() manager.Runnable { return part{start: c.watch} }

// Reconciling is the part of the leading replica.
func (c *Controller) Reconciling() manager.Runnable { return part{start: c.reconcile, leader: true} }

// Confirmed says whether a pod runs that was registered by this entry.
func (c *Controller) Confirmed(entryID string) bool { return c.demand.Confirmed(entryID) }

// Needed returns the IDs of the entries that the objects of a namespace need.
func (c *Controller) Needed(namespace string) []string { return c.demand.InNamespace(namespace) }

// RulesChanged has what all objects need evaluated again soon, and all entries in SPIRE compared, after the platform file
// changed.
func (c *Controller) RulesChanged() {
	select {
	case c.rules <- struct{}{}:
	default: // it is to be done already
	}
}

// Resync has all entries in SPIRE compared soon, because SPIRE was away and may have lost everything, or because it has
// a bundle that entries may have waited for.
func (c *Controller) Resync() { c.reconciler.Resync() }

// Plan returns what the reconciler would do, and does nothing. The cache has to be running.
func (c *Controller) Plan(ctx context.Context) ([]registrar.Step, error) {
	if err := c.watcher.start(ctx); err != nil {
		return nil, err
	}
	if _, err := c.config.Rules.Served(ctx); err != nil {
		return nil, err
	}
	return c.reconciler.Plan(ctx)
}

// pause has SPIRE left alone while it is not known what the cluster needs.
func (c *Controller) pause(why error) {
	c.reconciler.Pause(why != nil)
	if why != nil {
		c.config.Logger.Error(why, "no entry is added or removed until it is known")
	}
}

// watch keeps the demand at what the cluster needs until ctx is done.
func (c *Controller) watch(ctx context.Context) error {
	start := time.Now()
	if err := c.watcher.start(ctx); err != nil {
		return err
	}
	c.config.Logger.Info("every object was evaluated", "entries", c.demand.Len(), "duration", time.Since(start))
	close(c.complete)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.rules:
			// An error is reported when the webhook configuration changes, which is a resync too.
			_ = c.watcher.resync(ctx, "")
			c.reconciler.Resync() // rows may be of quarantined identities that nothing needs
		}
	}
}

// reconcile keeps SPIRE at the demand until ctx is done. What is not needed may be removed, so the demand has to be
// complete.
func (c *Controller) reconcile(ctx context.Context) error {
	metrics, err := newCollectors(c.config.Metrics, c.reconciler.Queued)
	if err != nil {
		return err
	}
	report := reporter{logger: c.config.Logger, cache: c.config.Cache, event: c.config.Event}
	c.reconciler.OnOutcome(func(o registrar.Outcome) {
		metrics.outcome(o)
		report.outcome(ctx, o)
	})
	c.reconciler.OnPass(func(p registrar.Pass) {
		metrics.pass(p)
		report.pass(ctx, p)
	})
	select {
	case <-ctx.Done():
	case <-c.complete:
		c.reconciler.Run(ctx)
	}
	return nil
}
