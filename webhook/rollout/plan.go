package rollout

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// Pod is one pod, not another one of the same name.
type Pod struct {
	types.NamespacedName
	UID types.UID
}

const (
	// maxUnknown is how many first pods may say nothing of their outcome before the others follow all the same: those
	// that older templates made say nothing, ever.
	maxUnknown = 3
	// maxRejecting is in how many namespaces pods may reject what is proven elsewhere, until all others are left alone.
	maxRejecting = 3
)

// Plan says which outdated pod is changed next, and when. It is pure: time and outcomes come from its caller.
//
// What pods follow comes from two sides, their namespace and the platform (its file, and the version of the
// templates). Each side, once changed, is tried on one pod, whose outcome is awaited; then the others follow, at the
// rate. A pod that rejects stops its namespace. It stops everything when it is the first pod of a changed platform,
// or when pods of several namespaces reject. What was stopped goes on when its namespace or the platform changes
// again.
type Plan struct {
	limiter    *rate.Limiter // of pods; a limit of 0 is a pause
	notBefore  time.Time     // of any pod
	last       taken         // what the pod that was taken last has cost
	platform   platform
	namespaces map[string]*trial
	queue      []Pod        // in order of arrival
	queued     map[Pod]bool // whether Envoy restarts for it
	retryAt    map[Pod]time.Time
	inFlight   map[Pod]flight
	rejected   map[Pod]bool
}

// trial is how far one namespace's pods are in following it as it is.
type trial struct {
	version string
	proven  bool
	unknown int
	stopped bool
}

type platform struct {
	version int
	changed bool // under this leader, so that a rejection is its fault and not that of a namespace
	proven  bool
	unknown int
}

// flight is what a pod was changed for.
type flight struct {
	platform  int
	namespace string
}

// taken is a place in the rate, which can be given back.
type taken struct {
	at    time.Time
	place *rate.Reservation
}

// NewPlan plans for so many pods a second; 0 is none, until the process is started with another rate.
func NewPlan(limit rate.Limit) *Plan {
	return &Plan{
		limiter:    rate.NewLimiter(limit, 1),
		namespaces: map[string]*trial{},
		queued:     map[Pod]bool{},
		retryAt:    map[Pod]time.Time{},
		inFlight:   map[Pod]flight{},
		rejected:   map[Pod]bool{},
	}
}

// Hold lets no pod be changed before a time.
func (p *Plan) Hold(until time.Time) { p.notBefore = until }

func (p *Plan) zeroRate() bool { return p.limiter.Limit() == 0 }

// PlatformChanged says that all pods follow another platform than before.
func (p *Plan) PlatformChanged() {
	p.platform = platform{version: p.platform.version + 1, changed: true}
	for name, t := range p.namespaces {
		p.namespaces[name] = &trial{version: t.version}
	}
}

// Compared says that all pods were compared with what they should be. When none is outdated, the platform as it is
// needs no proof: what a pod rejects later is the fault of its namespace.
func (p *Plan) Compared() {
	if len(p.queue)+len(p.inFlight) == 0 {
		p.platform.proven = true
	}
}

// Namespace says what a namespace is like. It reports whether that is another thing than before.
func (p *Plan) Namespace(name, version string) bool {
	if t, known := p.namespaces[name]; known && t.version == version {
		return false
	}
	p.namespaces[name] = &trial{version: version}
	return true
}

// NamespaceGone forgets a namespace. Its pods are forgotten one by one.
func (p *Plan) NamespaceGone(name string) { delete(p.namespaces, name) }

// Want says that a pod is outdated. Its namespace is known already. Where Envoy restarts for it, no other pod of the
// namespace is changed at the same time: they may be each other's replicas.
func (p *Plan) Want(pod Pod, restarts bool) {
	if _, queued := p.queued[pod]; !queued {
		p.queue = append(p.queue, pod)
	}
	p.queued[pod] = restarts
}

// Forget says that a pod is not outdated, or not there any more.
func (p *Plan) Forget(pod Pod) {
	if _, queued := p.queued[pod]; queued {
		p.queue = slices.DeleteFunc(p.queue, func(other Pod) bool { return other == pod })
		delete(p.queued, pod)
	}
	delete(p.retryAt, pod)
}

// Gone says that a pod is not there any more.
func (p *Plan) Gone(pod Pod) {
	p.Forget(pod)
	delete(p.inFlight, pod)
	delete(p.rejected, pod)
}

// Next takes the pod that is to be changed at this time, if there is one. What became of it is said by [Plan.Done],
// [Plan.Skip] or [Plan.Retry].
func (p *Plan) Next(now time.Time) (Pod, bool) {
	if p.zeroRate() || p.Stopped() || now.Before(p.notBefore) || p.delay(now) > 0 {
		return Pod{}, false
	}
	i := slices.IndexFunc(p.queue, func(pod Pod) bool { return !now.Before(p.retryAt[pod]) && p.mayGo(pod) })
	if i < 0 {
		return Pod{}, false
	}
	pod := p.queue[i]
	p.Forget(pod)
	p.inFlight[pod] = flight{p.platform.version, p.namespaces[pod.Namespace].version}
	p.last = taken{now, p.limiter.ReserveN(now, 1)}
	return pod, true
}

// delay is how long the rate has the next pod wait.
func (p *Plan) delay(now time.Time) time.Duration {
	place := p.limiter.ReserveN(now, 1)
	defer place.CancelAt(now)
	return place.DelayFrom(now)
}

// mayGo says whether a pod need not wait for another one's outcome.
func (p *Plan) mayGo(pod Pod) bool {
	t := p.namespaces[pod.Namespace]
	if _, inFlight := p.inFlight[pod]; inFlight || t == nil || t.stopped {
		return false
	}
	if !p.platform.proven && len(p.inFlight) > 0 {
		return false
	}
	return t.proven && !p.queued[pod] || !p.anyInFlight(pod.Namespace)
}

func (p *Plan) anyInFlight(namespace string) bool {
	for pod := range p.inFlight {
		if pod.Namespace == namespace {
			return true
		}
	}
	return false
}

// Wait is how long it takes at least until [Plan.Next] has a pod. It is false when there is none to wait for but an
// outcome or a change.
func (p *Plan) Wait(now time.Time) (time.Duration, bool) {
	if p.zeroRate() || p.Stopped() {
		return 0, false
	}
	first := now.Add(p.delay(now)) // of any pod
	if first.Before(p.notBefore) {
		first = p.notBefore
	}
	var earliest time.Time
	found := false
	for _, pod := range p.queue {
		at := p.retryAt[pod]
		if at.Before(first) {
			at = first
		}
		if (!found || at.Before(earliest)) && p.mayGo(pod) {
			earliest, found = at, true
		}
	}
	if !found {
		return 0, false
	}
	return max(0, earliest.Sub(now)), true
}

// Proven says whether what a pod follows has been taken by another one, so that its own outcome need not be awaited.
func (p *Plan) Proven(namespace string) bool {
	t := p.namespaces[namespace]
	return t != nil && t.proven && p.platform.proven
}

// Skip says that the pod taken last was not to be changed after all. It costs no time.
func (p *Plan) Skip(pod Pod) {
	delete(p.inFlight, pod)
	if p.last.place != nil {
		p.last.place.CancelAt(p.last.at)
		p.last = taken{}
	}
}

// Retry says that a pod could not be changed, is still outdated, and is left alone until a time.
func (p *Plan) Retry(pod Pod, restarts bool, until time.Time) {
	delete(p.inFlight, pod)
	p.Want(pod, restarts)
	p.retryAt[pod] = until
}

// Rejects says whether a pod rejects what it was given last.
func (p *Plan) Rejects(pod Pod) bool { return p.rejected[pod] }

// Done says what became of a changed pod, whoever changed it.
func (p *Plan) Done(pod Pod, outcome Outcome) {
	f, ours := p.inFlight[pod]
	delete(p.inFlight, pod)
	if outcome == Rejected {
		p.rejected[pod] = true
	} else if outcome == Taken {
		delete(p.rejected, pod)
	}
	t := p.namespaces[pod.Namespace]
	if !ours || f.platform != p.platform.version || t == nil || t.version != f.namespace {
		return // the outcome of what is not wanted any more says nothing of what is
	}
	switch outcome {
	case Rejected:
		t.stopped = true
	case Taken:
		t.proven, p.platform.proven = true, true
	case Unknown:
		t.unknown++
		p.platform.unknown++
		t.proven = t.proven || t.unknown >= maxUnknown
		p.platform.proven = p.platform.proven || p.platform.unknown >= maxUnknown
	case Pending: // no outcome
	}
}

// Recall says that a pod rejects what its namespace and the platform are, as was found out before this plan.
func (p *Plan) Recall(pod Pod) {
	p.rejected[pod] = true
	if t := p.namespaces[pod.Namespace]; t != nil {
		t.stopped = true
	}
}

// Stopped says whether all pods are left alone because too many have rejected what they would get.
func (p *Plan) Stopped() bool {
	allowed := maxRejecting
	if p.platform.changed && !p.platform.proven {
		allowed = 1
	}
	return len(p.StoppedNamespaces()) >= allowed
}

// StoppedNamespaces are those of which a pod rejected what the others would get as well, in order.
func (p *Plan) StoppedNamespaces() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.namespaces)) {
		if p.namespaces[name].stopped {
			out = append(out, name)
		}
	}
	return out
}

// Paused says whether outdated pods wait for somebody to act: for another rate, or for what they follow to be mended.
func (p *Plan) Paused() bool {
	return p.zeroRate() || len(p.StoppedNamespaces()) > 0
}

// Pods are those of which the plan knows something.
func (p *Plan) Pods() []Pod {
	out := slices.Clone(p.queue)
	for pod := range p.inFlight {
		out = append(out, pod)
	}
	for pod := range p.rejected {
		out = append(out, pod)
	}
	return out
}

// Outdated is how many pods wait for their turn.
func (p *Plan) Outdated() int { return len(p.queue) }

// Rejecting is how many pods refuse the configuration that they were given last.
func (p *Plan) Rejecting() int { return len(p.rejected) }
