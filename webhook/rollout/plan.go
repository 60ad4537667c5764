package rollout

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/templates/verdict"
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
	rejecting  int // namespaces with a workload that has stopped
	line       *line
	inFlight   map[Pod]flight
	rejected   map[Pod]bool
}

// trial is how far it is known that a change is taken.
type trial struct {
	proven  bool
	unknown int
}

func (t *trial) hear(outcome verdict.Outcome) {
	if outcome == verdict.Unknown {
		t.unknown++
	}
	t.proven = t.proven || outcome == verdict.Taken || t.unknown >= maxUnknown
}

// namespace is how far one namespace's pods are in following it as it is.
type namespace struct {
	trial
	version   string
	workloads map[string]*workload // those that were heard, or have a pod in flight
	inFlight  int                  // pods
	rejecting int                  // workloads that have stopped
}

type workload struct {
	trial
	stopped  bool
	inFlight int // pods
}

func (n *namespace) workload(name string) *workload {
	if n.workloads[name] == nil {
		n.workloads[name] = &workload{}
	}
	return n.workloads[name]
}

// stopped says whether no pod of the namespace is changed any more.
func (n *namespace) stopped() bool { return n.rejecting >= several }

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
		line:       newLine(),
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
	for name, n := range maps.Clone(p.namespaces) {
		p.start(name, n.version)
	}
}

// start has a namespace begin anew, with the pods that are in flight.
func (p *Plan) start(name, version string) {
	p.NamespaceGone(name)
	n := &namespace{version: version, workloads: map[string]*workload{}}
	p.namespaces[name] = n
	for pod, f := range p.inFlight {
		if pod.Namespace == name {
			n.inFlight++
			n.workload(f.workload).inFlight++
		}
	}
}

// Compared says that all pods were compared with what they should be. When none is outdated, the platform as it is
// needs no proof: what a pod rejects later is the fault of its namespace.
func (p *Plan) Compared() {
	if p.line.len()+len(p.inFlight) == 0 {
		p.platform.proven = true
	}
}

// Namespace says what a namespace is like. It reports whether that is another thing than before.
func (p *Plan) Namespace(name, version string) bool {
	if n, known := p.namespaces[name]; known && n.version == version {
		return false
	}
	p.start(name, version)
	return true
}

// NamespaceGone forgets a namespace. Its pods are forgotten one by one.
func (p *Plan) NamespaceGone(name string) {
	if n := p.namespaces[name]; n != nil && n.rejecting > 0 {
		p.rejecting--
	}
	delete(p.namespaces, name)
}

// Want says that a pod of a workload is outdated. Its namespace is known already. Where Envoy restarts for it, no other
// pod of the namespace is changed at the same time: they may be each other's replicas.
func (p *Plan) Want(pod Pod, workload string, restarts bool) { p.line.put(pod, workload, restarts) }

// Forget says that a pod is not outdated, or not there any more.
func (p *Plan) Forget(pod Pod) { p.line.remove(pod) }

// Gone says that a pod is not there any more.
func (p *Plan) Gone(pod Pod) {
	p.Forget(pod)
	p.land(pod)
	delete(p.rejected, pod)
}

// Next takes the pod that is to be changed at this time, if there is one. What became of it is said by [Plan.Done],
// [Plan.Skip] or [Plan.Retry].
func (p *Plan) Next(now time.Time) (Pod, bool) {
	if p.zeroRate() || p.Stopped() || now.Before(p.notBefore) || p.delay(now) > 0 {
		return Pod{}, false
	}
	p.line.wake(now)
	pod, ok := p.first()
	if !ok {
		return Pod{}, false
	}
	workload := p.line.places[pod].workload
	p.Forget(pod)
	p.takeOff(pod, workload)
	p.last = taken{now, p.limiter.ReserveN(now, 1)}
	return pod, true
}

// takeOff puts a pod into flight.
func (p *Plan) takeOff(pod Pod, workload string) {
	n := p.namespaces[pod.Namespace]
	p.inFlight[pod] = flight{p.platform.version, n.version, workload}
	n.inFlight++
	n.workload(workload).inFlight++
}

// land ends the flight of a pod, if it is in flight.
func (p *Plan) land(pod Pod) (f flight, inFlight bool) {
	f, inFlight = p.inFlight[pod]
	delete(p.inFlight, pod)
	if n := p.namespaces[pod.Namespace]; n != nil && inFlight {
		n.inFlight--
		n.workload(f.workload).inFlight--
	}
	return f, inFlight
}

// first is the pod whose turn it is. Until the platform is proven it is one of a namespace that was not heard yet, if
// there is one.
func (p *Plan) first() (Pod, bool) {
	if !p.platform.proven {
		if len(p.inFlight) > 0 {
			return Pod{}, false
		}
		unheard := func(b blockKey) bool { return p.unheard(b) && p.mayGo(b) }
		if pod, ok := p.line.first(unheard, p.workloadMayGo, p.isNotInFlight); ok {
			return pod, true
		}
	}
	return p.line.first(p.mayGo, p.workloadMayGo, p.isNotInFlight)
}

// unheard says whether pods could say what their namespace has not said yet. Those that were left alone for a while have
// nothing to say.
func (p *Plan) unheard(b blockKey) bool {
	_, heard := p.platform.heard[b.namespace]
	return !heard && !b.again
}

// delay is how long the rate has the next pod wait.
func (p *Plan) delay(now time.Time) time.Duration {
	place := p.limiter.ReserveN(now, 1)
	defer place.CancelAt(now)
	return place.DelayFrom(now)
}

// mayGo says whether pods need not wait for the outcome of another one of their namespace.
func (p *Plan) mayGo(b blockKey) bool {
	n := p.namespaces[b.namespace]
	return n != nil && !n.stopped() && (n.inFlight == 0 || n.proven && !b.restarts)
}

// workloadMayGo says whether pods need not wait for the outcome of another one of their workload.
func (p *Plan) workloadMayGo(namespace, name string) bool {
	w := p.namespaces[namespace].workloads[name]
	return w == nil || !w.stopped && (w.proven || w.inFlight == 0)
}

func (p *Plan) isNotInFlight(pod Pod) bool {
	_, inFlight := p.inFlight[pod]
	return !inFlight
}

// Wait is how long it takes at least until [Plan.Next] has a pod. It is false when there is none to wait for but an
// outcome or a change.
func (p *Plan) Wait(now time.Time) (time.Duration, bool) {
	if p.zeroRate() || p.Stopped() || !p.platform.proven && len(p.inFlight) > 0 {
		return 0, false
	}
	first := now.Add(p.delay(now)) // of any pod
	if first.Before(p.notBefore) {
		first = p.notBefore
	}
	p.line.wake(now)
	if _, ok := p.first(); !ok {
		next := p.line.soonest()
		if next == nil {
			return 0, false
		}
		if next.until.After(first) {
			first = next.until
		}
	}
	return max(0, first.Sub(now)), true
}

// Proven says whether what a pod of a workload follows has been taken by another one of it, so that its own outcome need
// not be awaited.
func (p *Plan) Proven(namespace, workload string) bool {
	n := p.namespaces[namespace]
	return n != nil && n.proven && p.platform.proven && n.workloads[workload] != nil && n.workloads[workload].proven
}

// Skip says that the pod taken last was not to be changed after all. It costs no time.
func (p *Plan) Skip(pod Pod) {
	p.land(pod)
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
	f, _ := p.land(pod)
	p.Want(pod, f.workload, restarts)
	p.line.postpone(pod, until)
}

// Postpone is [Plan.Retry] of the pod taken last, at no cost.
func (p *Plan) Postpone(pod Pod, restarts bool, until time.Time) {
	p.Retry(pod, restarts, until)
	p.giveBack()
}

// Rejects says whether a pod rejects what it was given last.
func (p *Plan) Rejects(pod Pod) bool { return p.rejected[pod] }

// Done says what became of a changed pod, whoever changed it.
func (p *Plan) Done(pod Pod, outcome verdict.Outcome) {
	f, ours := p.land(pod)
	if outcome == verdict.Rejected {
		p.rejected[pod] = true
	} else if outcome == verdict.Taken {
		delete(p.rejected, pod)
	}
	n := p.namespaces[pod.Namespace]
	if !ours || f.platform != p.platform.version || n == nil || n.version != f.namespace {
		return // the outcome of what is not wanted any more says nothing of what is
	}
	if outcome == verdict.Rejected {
		p.stop(n, f.workload)
	}
	n.workload(f.workload).hear(outcome)
	n.hear(outcome)
	p.hear(pod.Namespace, outcome)
}

// stop leaves the other pods of a workload alone.
func (p *Plan) stop(n *namespace, name string) {
	w := n.workload(name)
	if w.stopped {
		return
	}
	w.stopped = true
	if n.rejecting++; n.rejecting == 1 {
		p.rejecting++
	}
}

// hear notes what a pod of a namespace has said of the platform.
func (p *Plan) hear(namespace string, outcome verdict.Outcome) {
	if p.platform.proven {
		return
	}
	p.platform.heard[namespace] = p.platform.heard[namespace] || outcome == verdict.Taken
	if outcome == verdict.Unknown {
		p.platform.unknown++
	}
	took := 0
	for _, has := range p.platform.heard {
		if has {
			took++
		}
	}
	p.platform.proven = p.platform.unknown >= maxUnknown || took >= several || took > 0 && !p.line.any(p.unheard)
}

// Recall says that a pod of a workload rejects what its namespace and the platform are, as was found out before this
// plan.
func (p *Plan) Recall(pod Pod, workload string) {
	p.rejected[pod] = true
	if n := p.namespaces[pod.Namespace]; n != nil {
		p.stop(n, workload)
	}
}

// Stopped says whether all pods are left alone because too many have rejected what they would get.
func (p *Plan) Stopped() bool {
	allowed := maxRejecting
	if p.platform.changed && !p.platform.proven {
		allowed = several
	}
	return p.rejecting >= allowed
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
		if p.namespaces[name].rejecting > 0 {
			out = append(out, name)
		}
	}
	return out
}

// Paused says whether outdated pods wait for somebody to act: for another rate, or for what they follow to be mended.
func (p *Plan) Paused() bool {
	return p.zeroRate() || p.rejecting > 0
}

// Pods are those of which the plan knows something.
func (p *Plan) Pods() []Pod {
	out := slices.Collect(maps.Keys(p.line.places))
	for pod := range p.inFlight {
		out = append(out, pod)
	}
	for pod := range p.rejected {
		out = append(out, pod)
	}
	return out
}

// Outdated is how many pods wait for their turn.
func (p *Plan) Outdated() int { return p.line.len() }

// Rejecting is how many pods refuse the configuration that they were given last.
func (p *Plan) Rejecting() int { return len(p.rejected) }
