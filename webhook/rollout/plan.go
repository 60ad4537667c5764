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
	// several is from how many sides the same has to be heard before it counts for those that were not heard: a pod
	// may say what it likes, and so may all pods of one tenant.
	several = 2
)

// Plan says which outdated pod is changed next, and when. It is pure: time and outcomes come from its caller.
//
// What pods follow comes from two sides, their namespace and the platform (its file, and the version of the
// templates). Each side, once changed, is tried on one pod, whose outcome is awaited; then the others follow, at the
// rate. What a pod says counts for its own workload alone: each is tried on one of its pods, and stops if that rejects.
// What pods of several workloads reject stops their namespace; what pods of several namespaces reject stops everything.
// A changed platform is tried in one namespace after the other until several have taken it. What was stopped goes on
// when its namespace or the platform changes again.
type Plan struct {
	limiter    *rate.Limiter // of pods; a limit of 0 is a pause
	notBefore  time.Time     // of any pod
	last       taken         // what the pod that was taken last has cost
	platform   platform
	namespaces map[string]*namespace
	queue      []Pod // in order of arrival
	queued     map[Pod]wanted
	retryAt    map[Pod]time.Time
	inFlight   map[Pod]flight
	rejected   map[Pod]bool
}

// wanted is what is known of a pod that is outdated.
type wanted struct {
	workload string // of its namespace; pods of one workload are alike
	restarts bool   // Envoy restarts for it
}

// trial is how far it is known that a change is taken.
type trial struct {
	proven  bool
	unknown int
}

func (t *trial) hear(outcome Outcome) {
	if outcome == Unknown {
		t.unknown++
	}
	t.proven = t.proven || outcome == Taken || t.unknown >= maxUnknown
}

// namespace is how far one namespace's pods are in following it as it is.
type namespace struct {
	trial
	version   string
	workloads map[string]*workload // those that were heard
}

type workload struct {
	trial
	stopped bool
}

func (n *namespace) workload(name string) *workload {
	if n.workloads[name] == nil {
		n.workloads[name] = &workload{}
	}
	return n.workloads[name]
}

// rejecting is how many workloads have stopped.
func (n *namespace) rejecting() int {
	count := 0
	for _, w := range n.workloads {
		if w.stopped {
			count++
		}
	}
	return count
}

// stopped says whether no pod of the namespace is changed any more.
func (n *namespace) stopped() bool { return n.rejecting() >= several }

type platform struct {
	version int
	changed bool // under this leader, so that a rejection is its fault and not that of a namespace
	proven  bool
	unknown int
	heard   map[string]bool // namespaces, each with whether it has taken it
}

// flight is what a pod was changed for.
type flight struct {
	platform  int
	namespace string
	workload  string
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
		platform:   platform{heard: map[string]bool{}},
		namespaces: map[string]*namespace{},
		queued:     map[Pod]wanted{},
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
	p.platform = platform{version: p.platform.version + 1, changed: true, heard: map[string]bool{}}
	for name, n := range p.namespaces {
		p.namespaces[name] = newNamespace(n.version)
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
	if n, known := p.namespaces[name]; known && n.version == version {
		return false
	}
	p.namespaces[name] = newNamespace(version)
	return true
}

func newNamespace(version string) *namespace {
	return &namespace{version: version, workloads: map[string]*workload{}}
}

// NamespaceGone forgets a namespace. Its pods are forgotten one by one.
func (p *Plan) NamespaceGone(name string) { delete(p.namespaces, name) }

// Want says that a pod of a workload is outdated. Its namespace is known already. Where Envoy restarts for it, no other
// pod of the namespace is changed at the same time: they may be each other's replicas.
func (p *Plan) Want(pod Pod, workload string, restarts bool) {
	if _, queued := p.queued[pod]; !queued {
		p.queue = append(p.queue, pod)
	}
	p.queued[pod] = wanted{workload, restarts}
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
	i := p.first(now)
	if i < 0 {
		return Pod{}, false
	}
	pod := p.queue[i]
	workload := p.queued[pod].workload
	p.Forget(pod)
	p.inFlight[pod] = flight{p.platform.version, p.namespaces[pod.Namespace].version, workload}
	p.last = taken{now, p.limiter.ReserveN(now, 1)}
	return pod, true
}

// first is the place in the queue of the pod whose turn it is, or -1. Until the platform is proven it is one of a
// namespace that was not heard yet, if there is one.
func (p *Plan) first(now time.Time) int {
	ready := func(pod Pod) bool { return !now.Before(p.retryAt[pod]) && p.mayGo(pod) }
	if !p.platform.proven {
		if i := slices.IndexFunc(p.queue, func(pod Pod) bool { return p.unheard(pod) && ready(pod) }); i >= 0 {
			return i
		}
	}
	return slices.IndexFunc(p.queue, ready)
}

// unheard says whether a pod could say what its namespace has not said yet. One that is left alone for a while has
// nothing to say.
func (p *Plan) unheard(pod Pod) bool {
	_, heard := p.platform.heard[pod.Namespace]
	_, later := p.retryAt[pod]
	return !heard && !later
}

// delay is how long the rate has the next pod wait.
func (p *Plan) delay(now time.Time) time.Duration {
	place := p.limiter.ReserveN(now, 1)
	defer place.CancelAt(now)
	return place.DelayFrom(now)
}

// mayGo says whether a pod need not wait for another one's outcome.
func (p *Plan) mayGo(pod Pod) bool {
	n := p.namespaces[pod.Namespace]
	if _, inFlight := p.inFlight[pod]; inFlight || n == nil || n.stopped() {
		return false
	}
	if !p.platform.proven && len(p.inFlight) > 0 {
		return false
	}
	of := p.queued[pod]
	w := n.workloads[of.workload]
	switch {
	case w != nil && w.stopped:
		return false
	case !n.proven || of.restarts:
		return !p.anyInFlight(pod.Namespace, func(flight) bool { return true })
	case w == nil || !w.proven:
		return !p.anyInFlight(pod.Namespace, func(f flight) bool { return f.workload == of.workload })
	}
	return true
}

func (p *Plan) anyInFlight(namespace string, which func(flight) bool) bool {
	for pod, f := range p.inFlight {
		if pod.Namespace == namespace && which(f) {
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

// Proven says whether what a pod of a workload follows has been taken by another one of it, so that its own outcome need
// not be awaited.
func (p *Plan) Proven(namespace, workload string) bool {
	n := p.namespaces[namespace]
	return n != nil && n.proven && p.platform.proven && n.workloads[workload] != nil && n.workloads[workload].proven
}

// Skip says that the pod taken last was not to be changed after all. It costs no time.
func (p *Plan) Skip(pod Pod) {
	delete(p.inFlight, pod)
	p.giveBack()
}

func (p *Plan) giveBack() {
	if p.last.place != nil {
		p.last.place.CancelAt(p.last.at)
		p.last = taken{}
	}
}

// Retry says that a pod in flight could not be changed, is still outdated, and is left alone until a time.
func (p *Plan) Retry(pod Pod, restarts bool, until time.Time) {
	workload := p.inFlight[pod].workload
	delete(p.inFlight, pod)
	p.Want(pod, workload, restarts)
	p.retryAt[pod] = until
}

// Postpone is [Plan.Retry] of the pod taken last, at no cost.
func (p *Plan) Postpone(pod Pod, restarts bool, until time.Time) {
	p.Retry(pod, restarts, until)
	p.giveBack()
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
	n := p.namespaces[pod.Namespace]
	if !ours || f.platform != p.platform.version || n == nil || n.version != f.namespace {
		return // the outcome of what is not wanted any more says nothing of what is
	}
	w := n.workload(f.workload)
	w.stopped = w.stopped || outcome == Rejected
	w.hear(outcome)
	n.hear(outcome)
	p.hear(pod.Namespace, outcome)
}

// hear notes what a pod of a namespace has said of the platform.
func (p *Plan) hear(namespace string, outcome Outcome) {
	p.platform.heard[namespace] = p.platform.heard[namespace] || outcome == Taken
	if outcome == Unknown {
		p.platform.unknown++
	}
	took := 0
	for _, has := range p.platform.heard {
		if has {
			took++
		}
	}
	p.platform.proven = p.platform.proven || p.platform.unknown >= maxUnknown || took >= several ||
		took > 0 && !slices.ContainsFunc(p.queue, p.unheard)
}

// Recall says that a pod of a workload rejects what its namespace and the platform are, as was found out before this
// plan.
func (p *Plan) Recall(pod Pod, workload string) {
	p.rejected[pod] = true
	if n := p.namespaces[pod.Namespace]; n != nil {
		n.workload(workload).stopped = true
	}
}

// Stopped says whether all pods are left alone because too many have rejected what they would get.
func (p *Plan) Stopped() bool {
	allowed := maxRejecting
	if p.platform.changed && !p.platform.proven {
		allowed = several
	}
	return len(p.RejectingNamespaces()) >= allowed
}

// NamespaceStopped says whether all pods of a namespace are left alone because several of its workloads have rejected
// what they would get.
func (p *Plan) NamespaceStopped(name string) bool {
	n := p.namespaces[name]
	return n != nil && n.stopped()
}

// RejectingNamespaces are those of which a pod rejected what the others of its workload would get as well, in order.
func (p *Plan) RejectingNamespaces() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.namespaces)) {
		if p.namespaces[name].rejecting() > 0 {
			out = append(out, name)
		}
	}
	return out
}

// Paused says whether outdated pods wait for somebody to act: for another rate, or for what they follow to be mended.
func (p *Plan) Paused() bool {
	return p.zeroRate() || len(p.RejectingNamespaces()) > 0
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
