package registrar

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// ReconcilerOptions tune a [Reconciler]; the zero value is good.
type ReconcilerOptions struct {
	// Grace is how long an entry stays that nobody needs any more; 10 minutes by default.
	Grace time.Duration
	// Interval is the time between two looks at everything, give or take a tenth; 5 minutes by default.
	Interval time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Pass is one look at entries.
type Pass struct {
	// Full says that everything was looked at, and not only what changed.
	Full bool
	Took time.Duration
	// Err is why it ended early.
	Err error
	// Steps is what there was to do, without what is right as it is.
	Steps []Step
	// Counts is how matters stand after a pass.
	Counts Counts
}

// Counts are numbers of entries.
type Counts struct {
	Wanted        int // have owners
	Registered    int // ours, in SPIRE
	Missing       int // have owners, and are not in SPIRE
	Orphaned      int // have no owner, and are to be removed
	Refused       int // SPIRE or an entry of others stands in the way
	PendingPods   int // pods that wait for those that are missing
	WithoutBundle int // lack a federated domain whose bundle SPIRE does not have
}

const (
	// settle is how long changes are collected before they are looked at together.
	settle = 50 * time.Millisecond
	// Between two tries while SPIRE is away.
	minRetry = 500 * time.Millisecond
	maxRetry = 10 * time.Second
	// watchful is the interval between looks at everything while others delete our entries, an entry expires or a bundle is
	// awaited: soon enough to be of use, and too slow for a quarrel.
	watchful = 15 * time.Second
	// watchfulFor is how long after the last loss that goes on.
	watchfulFor = 10 * time.Minute
)

// Reconciler makes SPIRE hold what a [Demand] says, level-triggered: what it does follows from what is wanted and what is there
// and from nothing that it may have missed. Only one process of a cluster should run one at a time; two do no harm.
type Reconciler struct {
	cluster Cluster
	api     Entries
	demand  *Demand
	options ReconcilerOptions

	onOutcome func(Outcome)
	onPass    func(Pass)

	mu     sync.Mutex
	dirty  ids
	all    bool
	paused bool
	wake   chan struct{}

	// The rest belongs to Run.
	seen     mirror
	bundles  []spiffeid.TrustDomain
	missing  ids // wanted, and not in SPIRE
	refused  ids // something stands in the way
	narrowed ids // without a federated domain
	vanished ids // removed by others, until they are created again
	lastLoss time.Time
	lastFull time.Time
	nextFull time.Time
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
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reconciler{
		cluster: c, api: api, demand: d, options: o, onOutcome: func(Outcome) {}, onPass: func(Pass) {}, dirty: ids{}, wake: make(chan struct{}, 1),
		seen: newMirror(c), missing: ids{}, refused: ids{}, narrowed: ids{}, vanished: ids{},
	}
}

// OnOutcome sets who is told of every change, and of everything that stands in the way. It is set before Run.
func (r *Reconciler) OnOutcome(f func(Outcome)) { r.onOutcome = f }

// OnPass sets who is told of every look. It is set before Run.
func (r *Reconciler) OnPass(f func(Pass)) { r.onPass = f }

// Changed says which entries are wanted otherwise than before; they are looked at soon.
func (r *Reconciler) Changed(entryIDs ...string) {
	if len(entryIDs) == 0 {
		return
	}
	r.mu.Lock()
	for _, id := range entryIDs {
		r.dirty[id] = true
	}
	r.mu.Unlock()
	r.poke()
}

// LookAtAll has everything looked at soon, for instance because the connection to SPIRE was lost for a while.
func (r *Reconciler) LookAtAll() {
	r.mu.Lock()
	r.all = true
	r.mu.Unlock()
	r.poke()
}

// Pause has nothing looked at while the demand is not known to be what the cluster needs: neither what it says may be added, nor
// what it does not say removed. When the pause ends, everything is looked at.
func (r *Reconciler) Pause(paused bool) {
	r.mu.Lock()
	r.all = r.all || r.paused && !paused
	r.paused = paused
	r.mu.Unlock()
	r.poke()
}

// Queued is how many entries wait to be looked at.
func (r *Reconciler) Queued() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dirty)
}

func (r *Reconciler) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Plan returns what a look at everything would do, and does nothing. The demand has to be complete.
func (r *Reconciler) Plan(ctx context.Context) ([]Step, error) {
	current, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	return r.cluster.Diff(r.wanted(), slices.Collect(maps.Values(current)), r.rules(true)), nil
}

// Run reconciles until ctx is done. It must be called when the demand is complete, or in a pause, for what nobody needs is removed; and once.
func (r *Reconciler) Run(ctx context.Context) {
	retry := minRetry
	r.LookAtAll()
	for {
		if !r.await(ctx) {
			return
		}
		full, changed := r.due()
		var err error
		if full {
			err = r.lookAtAll(ctx)
		} else if len(changed) > 0 {
			err = r.lookAt(ctx, changed)
		}
		if err == nil {
			retry = minRetry
			continue
		}
		// What was found before may be out of date when SPIRE answers again: it may even have lost everything.
		r.LookAtAll()
		if !sleep(ctx, retry) {
			return
		}
		retry = min(2*retry, maxRetry)
	}
}

// await returns when there is something to do; false when ctx is done.
func (r *Reconciler) await(ctx context.Context) bool {
	for {
		r.mu.Lock()
		paused, queued := r.paused, r.all || len(r.dirty) > 0
		r.mu.Unlock()
		switch {
		case paused:
			select {
			case <-ctx.Done():
				return false
			case <-r.wake:
			}
		case queued:
			return sleep(ctx, settle)
		default:
			select {
			case <-ctx.Done():
				return false
			case <-time.After(r.next().Sub(r.options.Now())):
				r.LookAtAll()
			case <-r.wake:
			}
		}
	}
}

// next is when everything is to be looked at again: at its interval, or sooner when an entry expires or a bundle is awaited, but not
// at once each time.
func (r *Reconciler) next() time.Time {
	expiry, soon := r.seen.nextExpiry(), r.lastFull.Add(min(r.options.Interval, watchful))
	switch {
	case soon.After(r.nextFull):
		return r.nextFull
	case len(r.narrowed) > 0 || !expiry.IsZero() && expiry.Before(soon):
		return soon
	case !expiry.IsZero() && expiry.Before(r.nextFull):
		return expiry
	}
	return r.nextFull
}

func (r *Reconciler) due() (full bool, changed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused {
		return false, nil
	}
	full, changed = r.all, slices.Sorted(maps.Keys(r.dirty))
	r.all, r.dirty = false, ids{}
	return full, changed
}

func (r *Reconciler) rules(exactly bool) Rules {
	return Rules{Now: r.options.Now(), Grace: r.options.Grace, Bundles: r.bundles, Exactly: exactly}
}

// wanted is the demand and the alias, without which no other entry serves anybody.
func (r *Reconciler) wanted() map[string]Wanted {
	wanted := r.demand.All()
	alias := r.cluster.NodeAlias()
	wanted[alias.ID] = Wanted{Entry: &alias}
	return wanted
}

// list reads what SPIRE holds below the alias, the alias, and the bundles.
func (r *Reconciler) list(ctx context.Context) (map[string]Entry, error) {
	bundles, err := r.api.FederatedBundles(ctx)
	if err != nil {
		return nil, err
	}
	r.bundles = bundles
	alias := r.cluster.NodeAlias()
	entries, err := r.api.ListEntries(ctx, alias.SPIFFEID)
	if err != nil {
		return nil, err
	}
	current := make(map[string]Entry, len(entries)+1)
	for _, e := range entries {
		current[e.ID] = e
	}
	switch have, err := r.api.GetEntry(ctx, alias.ID); {
	case err == nil:
		current[have.ID] = have
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	return current, nil
}

func (r *Reconciler) lookAtAll(ctx context.Context) error {
	start := r.options.Now()
	current, err := r.list(ctx)
	if err != nil {
		r.onPass(Pass{Full: true, Took: r.options.Now().Sub(start), Err: err, Counts: r.counts()})
		return err
	}
	for id := range r.seen.lostIn(current) {
		r.vanished[id] = true
	}
	r.seen.replace(current)
	r.missing, r.refused, r.narrowed = ids{}, ids{}, ids{}
	err = r.do(ctx, true, start, r.cluster.Diff(r.wanted(), slices.Collect(maps.Values(current)), r.rules(true)))
	r.vanished = ids{}
	interval := r.options.Interval
	if start.Sub(r.lastLoss) < watchfulFor {
		interval = min(interval, watchful)
	}
	r.lastFull = r.options.Now()
	r.nextFull = r.lastFull.Add(jittered(interval))
	return err
}

// lookAt looks at some entries by what SPIRE was last seen to hold. If that is out of date, SPIRE's answer says so.
func (r *Reconciler) lookAt(ctx context.Context, changed []string) error {
	start := r.options.Now()
	wanted := map[string]Wanted{}
	var current []Entry
	for _, id := range changed {
		delete(r.missing, id)
		delete(r.refused, id)
		delete(r.narrowed, id)
		if w, needed := r.demand.Of(id); needed {
			wanted[id] = w
		}
		if e, there := r.seen.entries[id]; there {
			current = append(current, e)
		}
	}
	steps := r.cluster.Diff(wanted, current, r.rules(false))
	steps = slices.DeleteFunc(steps, func(s Step) bool { return s.Action == Remove }) // only after a fresh look
	return r.do(ctx, false, start, steps)
}

// do carries steps out and reports.
func (r *Reconciler) do(ctx context.Context, full bool, start time.Time, steps []Step) error {
	for i, s := range steps {
		if len(s.Missing) > 0 {
			r.narrowed[s.ID] = true
		}
		if s.Action == Create {
			r.missing[s.ID] = true
			if r.vanished[s.ID] {
				steps[i].Why, r.lastLoss = reason.EntryDeletedByOthers, start
			}
		}
	}
	err := r.cluster.carryOut(ctx, r.api, steps, func(o Outcome) {
		r.note(o)
		r.onOutcome(o)
	})
	r.onPass(Pass{Full: full, Took: r.options.Now().Sub(start), Err: err, Steps: steps, Counts: r.counts()})
	return err
}

// note keeps what is known of SPIRE true.
func (r *Reconciler) note(o Outcome) {
	switch {
	case errors.Is(o.Err, ErrNotFound):
		r.seen.remove(o.ID)
		r.vanished[o.ID] = true
		r.Changed(o.ID)
	case o.Err != nil:
		r.refused[o.ID] = true
	case o.Action == Remove:
		r.seen.remove(o.ID)
	default:
		delete(r.missing, o.ID)
		delete(r.vanished, o.ID)
		r.seen.put(o.Entry)
	}
}

func (r *Reconciler) counts() Counts {
	pods := 0
	for id := range r.missing {
		pods += r.demand.Pods(id)
	}
	return Counts{
		PendingPods: pods,
		Wanted:      r.demand.Len(), Registered: r.seen.ours, Orphaned: len(r.seen.expiring),
		Missing: len(r.missing), Refused: len(r.refused), WithoutBundle: len(r.narrowed),
	}
}

// jittered spreads what replicas and clusters do at the same interval.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // only to spread
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
