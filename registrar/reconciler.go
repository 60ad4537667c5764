package registrar

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// ReconcilerOptions tune a [Reconciler]; the zero value is good.
type ReconcilerOptions struct {
	// Grace is how long an entry stays that nobody needs any more; 10 minutes by default.
	Grace time.Duration
	// Interval is the time between two resyncs, give or take a tenth; 5 minutes by default.
	Interval time.Duration
	// Quarantined says of an identity that no agent may have it, whatever is wanted; nil: of none. Only a resync finds
	// the rows of one that was not before.
	Quarantined func(id spiffeid.ID) bool
}

// Pass is one comparison of what is wanted with what SPIRE holds.
type Pass struct {
	// Full says that it was a resync, and not only about what changed.
	Full bool
	Took time.Duration
	// Err is why it ended early.
	Err error
	// Steps is what there was to do, without what is right as it is.
	Steps []Step
	// Counts is how matters stand after a pass.
	Counts Counts
}

// Counts are numbers of workloads' entries, and of rows.
type Counts struct {
	States
	WithoutBundle int // lack a federated domain whose bundle SPIRE does not have
	Rows          States
	PendingPods   int // pods that wait for what is missing
}

// States are numbers of entries of one kind.
type States struct {
	Wanted     int // have owners
	Registered int // ours, in SPIRE
	Missing    int // have owners, and are not in SPIRE
	Orphaned   int // have no owner, and are to be removed
	Refused    int // SPIRE or an entry of others stands in the way
}

const (
	// debounce is how long changes are collected before they are reconciled together. A pod waits for it; what comes
	// while a call is in flight is collected by that.
	debounce = 10 * time.Millisecond
	// Between two tries while SPIRE is away.
	minRetry = 500 * time.Millisecond
	maxRetry = 10 * time.Second
	// shortInterval is the time between resyncs while others delete our entries, an entry expires or a bundle is
	// missing: soon enough to be of use, and too slow for a quarrel.
	shortInterval = 15 * time.Second
	// quarrel is how long after the last deletion by others that goes on.
	quarrel = 10 * time.Minute
	// settled is how long after a row was seen it is in force on all servers of SPIRE: longer than a server takes to
	// load what changed in the database, which is every five seconds by default.
	settled = 20 * time.Second
	// admission is longer than it takes from the creation of an entry until its pod is seen: the API server asks the
	// webhook for ten seconds at most.
	admission = 15 * time.Second
)

// What is queued.
const (
	changes    = "changes"    // the entries in Reconciler.changed
	everything = "everything" // all entries, by a fresh list of what SPIRE holds
)

// Reconciler makes SPIRE hold what a [Demand] says, level-triggered: what it does follows from what is wanted and what
// is there and from nothing that it may have missed. Only one process of a cluster should run one at a time; two do no
// harm.
type Reconciler struct {
	cluster Cluster
	api     Entries
	demand  *Demand
	options ReconcilerOptions

	onOutcome func(Outcome)
	onPass    func(Pass)

	mu      sync.Mutex
	changed ids
	gone    ids // UIDs of nodes
	paused  bool
	// stale says that only a resync helps: what SPIRE was seen to hold may be out of date, it may even have lost
	// everything.
	stale bool
	queue workqueue.TypedRateLimitingInterface[string] // nil before Run

	// The rest belongs to Run.
	seen            mirror
	bundles         []spiffeid.TrustDomain
	missing         ids // wanted, and not in SPIRE
	refused         ids // something stands in the way
	withoutBundle   ids // lack a federated domain
	deletedByOthers ids // until they are created again
	lastDeletion    time.Time
	lastResync      time.Time
	nextResync      time.Time
}

// ids is a set of entry IDs.
type ids map[string]bool

// NewReconciler returns a reconciler that does nothing before [Reconciler.Run].
func NewReconciler(c Cluster, api Entries, d *Demand, o ReconcilerOptions) *Reconciler {
	if o.Grace <= 0 {
		o.Grace = 10 * time.Minute
	}
	if o.Interval <= 0 {
		o.Interval = 5 * time.Minute
	}
	return &Reconciler{
		cluster:         c,
		api:             api,
		demand:          d,
		options:         o,
		onOutcome:       func(Outcome) {},
		onPass:          func(Pass) {},
		changed:         ids{},
		gone:            ids{},
		stale:           true,
		seen:            newMirror(c),
		missing:         ids{},
		refused:         ids{},
		withoutBundle:   ids{},
		deletedByOthers: ids{},
	}
}

// OnOutcome sets what is called after every change, and for everything that stands in the way. It is set before Run.
func (r *Reconciler) OnOutcome(f func(Outcome)) { r.onOutcome = f }

// OnPass sets what is called after every pass. It is set before Run.
func (r *Reconciler) OnPass(f func(Pass)) { r.onPass = f }

// Changed says which entries are wanted otherwise than before; they are reconciled soon.
func (r *Reconciler) Changed(entryIDs ...string) {
	if len(entryIDs) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range entryIDs {
		r.changed[id] = true
	}
	r.enqueue(changes)
}

// NodeGone says that the node of a UID is not there any more; its rows are removed soon. Some of them may have no owner,
// so that the demand does not know them.
func (r *Reconciler) NodeGone(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[uid] = true
	r.enqueue(changes)
}

// Resync has everything compared soon, for instance because the connection to SPIRE was lost for a while.
func (r *Reconciler) Resync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enqueue(everything)
}

// Pause has nothing compared while the demand is not known to be what the cluster needs: neither what it says may be
// added, nor what it does not say removed. The end of a pause is a resync.
func (r *Reconciler) Pause(paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused && !paused {
		r.stale = true
		r.enqueue(everything)
	}
	r.paused = paused
}

// Queued is how many entries wait to be reconciled.
func (r *Reconciler) Queued() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.changed)
}

func (r *Reconciler) enqueue(what string) {
	if r.queue != nil { // Run begins with everything
		r.queue.AddAfter(what, debounce)
	}
}

// Plan returns what a resync would do, and does nothing. The demand has to be complete.
func (r *Reconciler) Plan(ctx context.Context) ([]Step, error) {
	current, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	return r.cluster.Diff(r.demand.All(), slices.Collect(maps.Values(current)), r.rules(true)), nil
}

// Run reconciles until ctx is done. It must be called when the demand is complete, or in a pause, for what nobody needs
// is removed; and once.
func (r *Reconciler) Run(ctx context.Context) {
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](minRetry, maxRetry),
		workqueue.TypedRateLimitingQueueConfig[string]{Name: "entries"})
	defer context.AfterFunc(ctx, queue.ShutDown)()
	r.mu.Lock()
	r.queue = queue
	r.enqueue(everything)
	r.mu.Unlock()
	for {
		what, shutdown := queue.Get()
		if shutdown {
			return
		}
		r.process(ctx, what)
		queue.Done(what)
	}
}

func (r *Reconciler) process(ctx context.Context, what string) {
	if ctx.Err() != nil { // the queue hands out what is left when it is shut down
		return
	}
	changed, ok := r.take(what)
	if !ok {
		return
	}
	var err error
	if what == everything {
		err = r.resync(ctx)
	} else {
		err = r.reconcile(ctx, changed)
	}
	if err != nil {
		r.setStale(true)
		r.queue.AddRateLimited(everything)
		return
	}
	if what == everything {
		r.setStale(false)
	}
	r.queue.Forget(everything)
	r.queue.AddAfter(everything, time.Until(r.next()))
}

func (r *Reconciler) setStale(stale bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = stale
}

// take returns the changed entries; false when nothing is to be done: in a pause, and for changes while only a resync
// helps. Both end with a resync, which is about them as well.
func (r *Reconciler) take(what string) (changed []string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused || r.stale && what == changes {
		return nil, false
	}
	for uid := range r.gone {
		for row := range r.seen.onNode[uid] {
			r.changed[row] = true
		}
	}
	changed = slices.Sorted(maps.Keys(r.changed))
	r.changed, r.gone = ids{}, ids{}
	return changed, what == everything || len(changed) > 0
}

// next is when to resync: at the interval, or sooner when an entry expires or a bundle is missing, but not at once each
// time.
func (r *Reconciler) next() time.Time {
	expiry, soon := r.seen.nextExpiry(r.options.Grace), r.lastResync.Add(min(r.options.Interval, shortInterval))
	switch {
	case soon.After(r.nextResync):
		return r.nextResync
	case len(r.withoutBundle) > 0 || r.seen.ours[KindNodeAlias] > 0 || !expiry.IsZero() && expiry.Before(soon):
		return soon
	case !expiry.IsZero() && expiry.Before(r.nextResync):
		return expiry
	}
	return r.nextResync
}

func (r *Reconciler) rules(exactly bool) Rules {
	rules := Rules{
		Now:         time.Now(),
		Grace:       r.options.Grace,
		Bundles:     r.bundles,
		Placed:      r.placed,
		Quarantined: r.options.Quarantined,
		Orphaned:    r.seen.orphaned.at,
		Exactly:     exactly,
	}
	if exactly { // otherwise its owner was seen, and has gone
		rules.Admission = admission
	}
	if r.cluster.Scope != ScopeCluster {
		rules.HasNode = r.demand.HasNode
	}
	return rules
}

// placed says whether every row that an identity needs has been in SPIRE for long enough.
func (r *Reconciler) placed(identity string) bool {
	for _, id := range r.demand.RowsOf(identity) {
		if since, there := r.seen.rows[id]; !there || time.Since(since) < settled {
			return false
		}
	}
	return true
}

// list reads what SPIRE holds of the cluster, and the bundles.
func (r *Reconciler) list(ctx context.Context) (map[string]Entry, error) {
	bundles, err := r.api.FederatedBundles(ctx)
	if err != nil {
		return nil, err
	}
	r.bundles = bundles
	entries, err := r.api.ListEntries(ctx, r.cluster)
	if err != nil {
		return nil, err
	}
	current := make(map[string]Entry, len(entries))
	for _, e := range entries {
		current[e.ID] = e
	}
	return current, nil
}

func (r *Reconciler) resync(ctx context.Context) error {
	start := time.Now()
	current, err := r.list(ctx)
	if err != nil {
		r.onPass(Pass{Full: true, Took: time.Since(start), Err: err, Counts: r.counts()})
		return err
	}
	for id := range r.seen.deletedIn(current) {
		r.deletedByOthers[id] = true
	}
	r.seen.replace(current, start)
	r.missing, r.refused, r.withoutBundle = ids{}, ids{}, ids{}
	wanted := r.demand.All()
	for id := range r.seen.orphaned.at {
		if _, needed := wanted[id]; needed {
			r.seen.orphaned.remove(id)
		}
	}
	err = r.do(ctx, true, start, r.cluster.Diff(wanted, slices.Collect(maps.Values(current)), r.rules(true)))
	r.deletedByOthers = ids{}
	interval := r.options.Interval
	if start.Sub(r.lastDeletion) < quarrel {
		interval = min(interval, shortInterval)
	}
	r.lastResync = time.Now()
	r.nextResync = r.lastResync.Add(wait.Jitter(interval*9/10, 2.0/9))
	r.watchOver(wanted)
	return err
}

// watchOver has the next resync come before a certificate expires that was renewed just after the last one, as far as
// that is not too often: a row that is lost meanwhile is to be back by then.
func (r *Reconciler) watchOver(wanted map[string]Wanted) {
	for _, w := range wanted {
		if w.Entry == nil || w.Entry.X509SVIDTTL == 0 {
			continue
		}
		before := r.lastResync.Add(max(w.Entry.X509SVIDTTL/2, shortInterval))
		if before.Before(r.nextResync) {
			r.nextResync = before
		}
	}
}

// reconcile compares some entries with what SPIRE was last seen to hold. If that is out of date, SPIRE's answer says
// so.
func (r *Reconciler) reconcile(ctx context.Context, changed []string) error {
	start := time.Now()
	wanted := map[string]Wanted{}
	var current []Entry
	for _, id := range changed {
		delete(r.missing, id)
		delete(r.refused, id)
		delete(r.withoutBundle, id)
		if w, needed := r.demand.Of(id); needed {
			wanted[id] = w
			r.seen.orphaned.remove(id)
		}
		if e, there := r.seen.entries[id]; there {
			current = append(current, e)
		}
	}
	r.watchOver(wanted)
	steps := r.cluster.Diff(wanted, current, r.rules(false))
	// Workloads' entries are removed only by a fresh list: another replica may have admitted a pod that needs them.
	steps = slices.DeleteFunc(steps, func(s Step) bool { return s.Action == Remove && r.cluster.KindOf(s.Entry) != KindRow })
	return r.do(ctx, false, start, steps)
}

// do carries steps out and reports.
func (r *Reconciler) do(ctx context.Context, full bool, start time.Time, steps []Step) error {
	for i, s := range steps {
		if len(s.Missing) > 0 {
			r.withoutBundle[s.wanted] = true
		}
		switch {
		case s.Action == Create:
			r.missing[s.wanted] = true
			if r.deletedByOthers[s.wanted] {
				steps[i].Why, r.lastDeletion = deletedByOthers(s), start
			}
		case s.Why == reason.RowOrphaned:
			if !r.seen.orphaned.has(s.ID) {
				r.seen.orphaned.set(s.ID, start)
			}
		}
	}
	err := r.cluster.carryOut(ctx, r.api, steps, func(o Outcome) {
		r.note(o)
		r.onOutcome(o)
	})
	r.onPass(Pass{Full: full, Took: time.Since(start), Err: err, Steps: steps, Counts: r.counts()})
	return err
}

func deletedByOthers(s Step) reason.Reason {
	if s.Why == reason.RowMissing {
		return reason.RowDeletedByOthers
	}
	return reason.EntryDeletedByOthers
}

// note keeps what is known of SPIRE true.
func (r *Reconciler) note(o Outcome) {
	switch {
	case errors.Is(o.Err, ErrNotFound):
		if !r.seen.expires(o.ID) {
			r.deletedByOthers[o.wanted] = true
		}
		r.seen.remove(o.ID)
		r.Changed(o.wanted)
	case o.Err != nil:
		r.refused[o.wanted] = true
	case o.Action == Remove:
		if r.seen.remove(o.ID); o.Why == reason.RowDrifted {
			r.Changed(o.wanted) // it is to be created as it should be
		}
	default:
		delete(r.missing, o.wanted)
		delete(r.deletedByOthers, o.wanted)
		r.seen.put(o.Entry, time.Now())
	}
}

func (r *Reconciler) counts() Counts {
	c := Counts{
		States: States{
			Wanted:     r.demand.Len(),
			Registered: r.seen.ours[KindWorkload],
			Orphaned:   len(r.seen.expiring.at),
		},
		Rows: States{
			Wanted:     r.demand.Placements(),
			Registered: r.seen.ours[KindRow],
			Orphaned:   len(r.seen.orphaned.at),
		},
		WithoutBundle: len(r.withoutBundle),
		PendingPods:   r.demand.Pods(maps.Keys(r.missing)),
	}
	c.Rows.Missing, c.Missing = r.byKind(r.missing)
	c.Rows.Refused, c.Refused = r.byKind(r.refused)
	return c
}

func (r *Reconciler) byKind(of ids) (rows, others int) {
	for id := range of {
		if _, _, isRow := r.cluster.rowOf(id); isRow {
			rows++
		} else {
			others++
		}
	}
	return rows, others
}
