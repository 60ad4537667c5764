package federation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// SPIRE is what a [Syncer] needs of a SPIRE server.
type SPIRE interface {
	registrar.RelationshipLister
	registrar.RelationshipWriter
	registrar.BundleLister
	registrar.BundleReader
	registrar.BundleRefresher
}

// Config is what a [Syncer] works with.
type Config struct {
	SPIRE SPIRE
	// Wanted are the relationships of the platform file in force.
	Wanted func() []registrar.Federated
	// Interval is the time between two comparisons of the relationships in SPIRE, give or take a tenth.
	Interval time.Duration
	// Patience is how long SPIRE is given to take up a relationship by itself before it is told to fetch any bundle,
	// after one has been created and when SPIRE may have just started: if SPIRE (1.15) finds a relationship when it is
	// told to fetch, its own polling of that one ends with the call.
	Patience time.Duration
	// Arrived is called when SPIRE has got a bundle that it did not have: entries may wait for it.
	Arrived func()
	Logger  logr.Logger
	Metrics prometheus.Registerer
	// Event makes a Kubernetes event about the platform file.
	Event func(eventType string, why reason.Reason, note string)
}

const (
	// syncTimeout bounds a comparison of the relationships, which SPIRE answers by itself.
	syncTimeout = 20 * time.Second
	// Between two tries.
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
	// fetchTimeout bounds the fetch of a bundle, for which SPIRE waits for the foreign server.
	fetchTimeout = 20 * time.Second
)

// What is queued.
const (
	relationships = "relationships" // to be compared
	changed       = "changed"       // so is the platform file
	reconnected   = "reconnected"   // after SPIRE was away
	bundles       = "bundles"       // one or more are due
)

// Syncer keeps SPIRE's federation relationships at what the platform file says, and their bundles fresh. It is a
// Runnable of a manager, on the leading replica only. It removes no relationship: others may rely on it.
type Syncer struct {
	config Config
	report reporter
	queue  workqueue.TypedRateLimitingInterface[string]

	mu      sync.Mutex // also held while relationships are compared
	metrics *collectors
	domains domains
}

// New returns a syncer that does nothing before it is started by a manager, or asked for a plan.
func New(c Config) *Syncer {
	return &Syncer{
		config: c,
		report: reporter{logger: c.Logger, event: c.Event},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](minRetry, maxRetry),
			workqueue.TypedRateLimitingQueueConfig[string]{Name: "federation"}),
		domains: domains{},
	}
}

// NeedLeaderElection says that one replica is enough.
func (s *Syncer) NeedLeaderElection() bool { return true }

// RelationshipsChanged has the relationships compared soon, after the platform file changed.
func (s *Syncer) RelationshipsChanged() { s.queue.Add(changed) }

// Reconnected has the relationships compared and all bundles fetched soon, after SPIRE was away: it may have lost what
// it knew.
func (s *Syncer) Reconnected() { s.queue.Add(reconnected) }

// Start keeps relationships and bundles until ctx is done.
func (s *Syncer) Start(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.queue.ShutDown)()
	var err error
	if s.metrics, err = newCollectors(s.config.Metrics); err != nil {
		return err
	}
	s.queue.Add(relationships)
	for {
		what, shutdown := s.queue.Get()
		if shutdown {
			return nil
		}
		s.process(ctx, what)
		s.queue.Done(what)
	}
}

func (s *Syncer) process(ctx context.Context, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch what {
	case changed:
		s.domains.hurryFailing(now)
	case reconnected:
		s.domains.hurry(now.Add(s.config.Patience))
	}
	if what != bundles {
		s.syncRelationships(ctx)
	}
	for _, d := range s.domains.begin(time.Now()) {
		go s.fetch(ctx, d, d.Relationship)
	}
	s.awaitBundles()
}

// awaitBundles queues what is due next.
func (s *Syncer) awaitBundles() {
	s.queue.AddAfter(bundles, time.Until(s.domains.next(time.Now().Add(s.config.Interval))))
}

// spread is from 0 to 1, as [registrar.Freshness.Next] takes it.
func spread() float64 { return rand.Float64() } //nolint:gosec // only to spread
