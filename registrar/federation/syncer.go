package federation

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

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
	// Interval is the time between two looks at the relationships in SPIRE, give or take a tenth.
	Interval time.Duration
	// Patience is how long SPIRE is given to take up a relationship by itself before it is told to fetch any bundle, after one has
	// been created and when SPIRE may have just started: if SPIRE (1.15) finds a relationship when it is told to fetch, its own
	// polling of that one ends with the call.
	Patience time.Duration
	// Arrived is told when SPIRE has got a bundle that it did not have: entries may wait for it.
	Arrived func()
	Logger  logr.Logger
	Metrics prometheus.Registerer
	// Event makes a Kubernetes event about the platform file.
	Event func(eventType string, why reason.Reason, note string)
}

const (
	// syncTimeout bounds a look at the relationships, which SPIRE answers by itself.
	syncTimeout = 20 * time.Second
	// Between two tries.
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
	// fetchTimeout bounds the fetch of a bundle, for which SPIRE waits for the foreign server.
	fetchTimeout = 20 * time.Second
)

// Syncer keeps SPIRE's federation relationships at what the platform file says, and their bundles fresh. It is a Runnable of a
// manager, on the leading replica only. It removes no relationship: others may rely on it.
type Syncer struct {
	config      Config
	report      reporter
	changed     chan struct{}
	reconnected chan struct{}

	// The rest belongs to Start.
	metrics *collectors
	domains domains
	fetched chan fetched
	look    time.Time // when to look at the relationships
	retry   time.Duration
}

// New returns a syncer that does nothing before it is started by a manager, or asked for a plan.
func New(c Config) *Syncer {
	return &Syncer{
		config: c, report: reporter{logger: c.Logger, event: c.Event}, changed: make(chan struct{}, 1), reconnected: make(chan struct{}, 1),
		domains: domains{}, fetched: make(chan fetched), retry: minRetry,
	}
}

// NeedLeaderElection says that one replica is enough.
func (s *Syncer) NeedLeaderElection() bool { return true }

// RelationshipsChanged has the platform file looked at soon, after it changed.
func (s *Syncer) RelationshipsChanged() { poke(s.changed) }

// Reconnected has everything looked at and fetched soon, after SPIRE was away: it may have lost what it knew.
func (s *Syncer) Reconnected() { poke(s.reconnected) }

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody said so already
	}
}

// Start keeps relationships and bundles until ctx is done.
func (s *Syncer) Start(ctx context.Context) error {
	var err error
	if s.metrics, err = newCollectors(s.config.Metrics); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if !time.Now().Before(s.look) {
			s.syncRelationships(ctx)
		}
		for _, d := range s.domains.begin(time.Now()) {
			go s.fetch(ctx, d, d.Relationship)
		}
		s.await(ctx)
	}
	return nil
}

// await returns when there may be something to do.
func (s *Syncer) await(ctx context.Context) {
	timer := time.NewTimer(time.Until(s.domains.next(s.look)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case f := <-s.fetched:
		s.take(f)
	case <-s.changed:
		s.look = time.Now()
		s.domains.hurryFailing(s.look)
	case <-s.reconnected:
		s.look = time.Now()
		s.domains.hurry(s.look.Add(s.config.Patience))
	}
}

// jittered spreads what replicas and clusters do at the same interval.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(spread()*float64(d/5))
}

func spread() float64 { return rand.Float64() } //nolint:gosec // only to spread
