package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/templates/verdict"
)

var start = time.Unix(1700000000, 0)

// ride drives a plan along a clock of its own.
type ride struct {
	t    *testing.T
	plan *Plan
	now  time.Time
}

func newRide(t *testing.T, limit rate.Limit, pods ...string) *ride {
	t.Helper()
	r := &ride{t: t, plan: NewPlan(limit), now: start}
	for _, name := range pods {
		r.plan.Namespace(pod(name).Namespace, "1")
		r.plan.Want(pod(name), replicaOf(name), false)
	}
	return r
}

// pod is "namespace/name".
func pod(name string) Pod {
	var p Pod
	for i := range name {
		if name[i] == '/' {
			p.NamespacedName = types.NamespacedName{Namespace: name[:i], Name: name[i+1:]}
		}
	}
	return p
}

// replicaOf is "x" of a pod "namespace/x.name", and else that of all other pods.
func replicaOf(name string) string {
	_, name, _ = strings.Cut(name, "/")
	w, _, _ := strings.Cut(name, ".")
	if w == name {
		return ""
	}
	return w
}

// want expects pods to be changed in this order, each at once.
func (r *ride) want(names ...string) {
	r.t.Helper()
	for _, name := range names {
		got, ok := r.plan.Next(r.now)
		if !ok || got != pod(name) {
			r.t.Fatalf("after %s expected %s, got %v, %t", r.now.Sub(start), name, got, ok)
		}
	}
	r.none()
}

func (r *ride) none() {
	r.t.Helper()
	if got, ok := r.plan.Next(r.now); ok {
		r.t.Fatalf("after %s expected no pod, got %v", r.now.Sub(start), got)
	}
}

func (r *ride) wait(d time.Duration) { r.now = r.now.Add(d) }

func (r *ride) done(outcome verdict.Outcome, names ...string) {
	for _, name := range names {
		r.plan.Done(pod(name), outcome)
	}
}

func TestPlanKeepsToRate(t *testing.T) {
	t.Parallel()
	r := newRide(t, 2, "a/1", "a/2", "a/3", "a/4")
	r.want("a/1")
	r.wait(time.Minute)
	r.none() // the first one's outcome is awaited, however long that takes
	if _, ok := r.plan.Wait(r.now); ok {
		t.Error("there is nothing to wait for but the outcome")
	}
	r.done(verdict.Taken, "a/1")
	r.want("a/2")
	for _, name := range []string{"a/3", "a/4"} { // without waiting for outcomes
		r.wait(400 * time.Millisecond)
		r.none()
		if d, ok := r.plan.Wait(r.now); !ok ||
			d.Round(time.Microsecond) != 100*time.Millisecond { // the rate counts in fractions
			t.Errorf("expected to wait for 100 ms, got %s, %t", d, ok)
		}
		r.wait(100 * time.Millisecond)
		r.want(name)
	}
	if got := r.plan.Outdated(); got != 0 {
		t.Errorf("expected no outdated pod, got %d", got)
	}
}

func TestPlanPaused(t *testing.T) {
	t.Parallel()
	r := newRide(t, 0, "a/1")
	r.wait(time.Hour)
	r.none()
	if !r.plan.Paused() || r.plan.Outdated() != 1 {
		t.Error("expected a paused plan with one outdated pod")
	}
	if newRide(t, 1, "a/1").plan.Paused() {
		t.Error("a plan with a rate is paused")
	}
}

// What a pod rejects stops the others of its workload, and nobody else.
func TestPlanStopsWorkload(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/x.1", "a/x.2", "a/y.1", "a/y.2", "b/1", "b/2")
	step := func() { r.wait(time.Second) }
	r.want("a/x.1")
	r.done(verdict.Rejected, "a/x.1")
	step()
	r.want("b/1") // it may be a's own fault
	r.done(verdict.Taken, "b/1")
	step()
	r.want("a/y.1") // or the workload's
	step()
	r.want("b/2")
	r.done(verdict.Taken, "a/y.1", "b/2")
	step()
	r.want("a/y.2")
	r.done(verdict.Taken, "a/y.2")
	step()
	r.none()
	if !r.plan.Paused() || r.plan.Stopped() || r.plan.NamespaceStopped("a") || r.plan.Rejecting() != 1 ||
		r.plan.Outdated() != 1 || !slices.Equal(r.plan.RejectingNamespaces(), []string{"a"}) {
		t.Errorf("expected workload x stopped with one outdated pod and one that rejects, got %+v", r.plan)
	}
	if r.plan.Namespace("a", "1") {
		t.Error("the same namespace is called changed")
	}
	r.none()
	if !r.plan.Namespace("a", "2") {
		t.Error("a changed namespace is not called changed")
	}
	r.plan.Want(pod("a/x.1"), "x", false)
	r.want("a/x.2")
	r.done(verdict.Taken, "a/x.2")
	step()
	r.want("a/x.1")
	r.done(verdict.Taken, "a/x.1")
	if r.plan.Paused() || r.plan.Rejecting() != 0 {
		t.Errorf("expected nothing stopped and nothing rejected, got %+v", r.plan)
	}
}

// Several workloads have to reject for their namespace to be left alone.
func TestPlanStopsNamespace(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/x.1", "a/x.2", "a/y.1", "a/z.1", "b/1")
	for _, name := range []string{"a/x.1", "b/1", "a/y.1"} {
		r.want(name)
		outcome := verdict.Rejected
		if name == "b/1" {
			outcome = verdict.Taken
		}
		r.done(outcome, name)
		r.wait(time.Second)
	}
	r.none()
	if !r.plan.NamespaceStopped("a") || r.plan.NamespaceStopped("b") || r.plan.Stopped() || r.plan.Outdated() != 2 {
		t.Errorf("expected namespace a stopped with two outdated pods, got %+v", r.plan)
	}
}

// What a workload takes proves nothing for another one, which is tried on one pod of its own.
func TestPlanTriesEachWorkload(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/x.1", "a/x.2", "a/y.1", "a/y.2", "b/1")
	r.plan.PlatformChanged()
	r.want("a/x.1")
	r.done(verdict.Taken, "a/x.1")
	r.wait(time.Second)
	r.want("b/1") // what one namespace takes proves nothing for the platform
	r.wait(time.Second)
	r.none()
	r.done(verdict.Taken, "b/1")
	for _, name := range []string{"a/x.2", "a/y.1"} {
		r.wait(time.Second)
		r.want(name)
	}
	r.wait(time.Second)
	r.none()
	if !r.plan.Proven("a", "x") || r.plan.Proven("a", "y") {
		t.Error("expected x to be proven and y not")
	}
	r.done(verdict.Taken, "a/y.1")
	r.want("a/y.2")
}

func TestPlanStopsChangedPlatform(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/1")
	r.want("a/1")
	r.done(verdict.Taken, "a/1")
	r.plan.PlatformChanged()
	for _, name := range []string{"a/x.1", "a/y.1", "b/1", "b/2", "c/1"} {
		r.plan.Namespace(pod(name).Namespace, "1")
		r.plan.Want(pod(name), replicaOf(name), false)
	}
	r.wait(time.Second)
	r.want("a/x.1")
	r.wait(time.Second)
	r.none() // not in another namespace either
	r.done(verdict.Rejected, "a/x.1")
	r.want("b/1")
	r.done(verdict.Rejected, "b/1")
	r.wait(time.Second)
	r.none()
	if !r.plan.Stopped() || !r.plan.Paused() || r.plan.Outdated() != 3 {
		t.Errorf("expected everything stopped, got %+v", r.plan)
	}
	r.plan.PlatformChanged()
	r.plan.Want(pod("a/x.1"), "x", false)
	for _, name := range []string{"a/y.1", "b/2"} {
		r.want(name)
		r.done(verdict.Taken, name)
		r.wait(time.Second)
	}
	r.want("c/1")
	r.wait(time.Second)
	r.want("a/x.1")
}

// All that the pods of one namespace say stops nobody else, whatever it is and however often it is said.
func TestPlanIsNotStoppedByOneNamespace(t *testing.T) {
	t.Parallel()
	liars := []string{"a/v.1", "a/w.1", "a/x.1", "a/x.2"}
	for _, lie := range []verdict.Outcome{verdict.Rejected, verdict.Unknown, verdict.Taken} {
		r := newRide(t, 1000, append(liars, "b/1", "b/2", "b/y.1", "c/1", "c/2")...)
		r.plan.PlatformChanged()
		changed := map[string]bool{}
		for range 100 {
			for {
				next, ok := r.plan.Next(r.now)
				if !ok {
					break
				}
				name := next.Namespace + "/" + next.Name
				changed[name] = true
				if next.Namespace == "a" {
					r.done(lie, name)
				} else {
					r.done(verdict.Taken, name)
				}
			}
			r.wait(time.Second)
		}
		for _, name := range []string{"b/1", "b/2", "b/y.1", "c/1", "c/2"} {
			if !changed[name] {
				t.Errorf("%s is not changed where others say %s", name, lie)
			}
		}
	}
}

func TestPlanStopsWhenSeveralNamespacesReject(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/1", "b/1", "c/1", "d/1", "e/1", "f/1")
	for i, outcome := range []verdict.Outcome{verdict.Taken, verdict.Taken, verdict.Rejected, verdict.Rejected, verdict.Rejected} {
		r.wait(time.Second)
		name := string(rune('a'+i)) + "/1"
		r.want(name)
		r.done(outcome, name)
	}
	r.wait(time.Second)
	r.none()
	r.plan.NamespaceGone("c")
	r.want("f/1")
}

// Pods that say nothing, because they are older than the page that says it, hold up the others for a while and not
// for ever.
func TestPlanGoesOnWithoutOutcomes(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/1", "a/2", "a/3", "a/4", "a/5")
	for i := range maxUnknown {
		r.wait(time.Second)
		name := fmt.Sprintf("a/%d", i+1)
		r.want(name)
		r.done(verdict.Unknown, name)
	}
	for _, name := range []string{"a/4", "a/5"} {
		r.wait(time.Second)
		r.want(name)
	}
}

// Replicas whose Envoys restart do so one after the other, those of several namespaces side by side.
func TestPlanRestartsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/1", "a/2", "b/1", "b/2")
	for _, name := range []string{"a/1", "a/2", "b/1", "b/2"} {
		r.plan.Want(pod(name), replicaOf(name), true)
	}
	step := func() { r.wait(time.Second) }
	r.want("a/1")
	r.done(verdict.Taken, "a/1")
	step()
	r.want("b/1")
	r.done(verdict.Taken, "b/1")
	step()
	r.want("a/2")
	step()
	r.want("b/2")
	step()
	r.plan.Want(pod("a/3"), "", true)
	r.none()
	r.plan.Want(pod("a/4"), "", false) // whose Envoy goes on
	r.want("a/4")
	step()
	r.done(verdict.Taken, "b/2", "a/4")
	r.none()
	r.done(verdict.Unknown, "a/2")
	r.want("a/3")
}

func TestPlanTriesAgain(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1, "a/1", "a/2")
	r.want("a/1")
	r.plan.Retry(pod("a/1"), false, r.now.Add(retryAfter))
	r.wait(time.Second)
	r.want("a/2") // is the first one in its place
	r.done(verdict.Taken, "a/2")
	r.wait(retryAfter - 2*time.Second)
	r.none()
	if d, ok := r.plan.Wait(r.now); !ok || d != time.Second {
		t.Errorf("expected to wait for 1 s, got %s, %t", d, ok)
	}
	r.wait(time.Second)
	r.want("a/1")
}

func TestPlanSkipsAtNoCost(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1, "a/1", "a/2")
	r.want("a/1")
	r.plan.Skip(pod("a/1"))
	if d, ok := r.plan.Wait(r.now); !ok || d != 0 {
		t.Errorf("expected not to wait, got %s, %t", d, ok)
	}
	r.want("a/2")
}

// What became of an older change neither proves nor stops the newer one.
func TestPlanIgnoresOutcomesOfOlderChanges(t *testing.T) {
	t.Parallel()
	for _, outcome := range []verdict.Outcome{verdict.Taken, verdict.Rejected} {
		for name, change := range map[string]func(*Plan){
			"namespace": func(p *Plan) { p.Namespace("a", "2") }, "platform": func(p *Plan) { p.PlatformChanged() },
		} {
			r := newRide(t, 1000, "a/1", "a/2", "a/3")
			r.want("a/1")
			change(r.plan)
			r.plan.Want(pod("a/1"), "", false) // which is outdated again while its outcome is awaited
			r.wait(time.Second)
			r.none()
			r.done(outcome, "a/1")
			if r.plan.Proven("a", "") || r.plan.Stopped() || len(r.plan.RejectingNamespaces()) > 0 {
				t.Errorf("%s: an old outcome %s counts", name, outcome)
			}
			r.want("a/2")
			r.done(verdict.Taken, "a/2")
			r.wait(time.Second)
			r.want("a/3")
			r.wait(time.Second)
			r.want("a/1")
		}
	}
}

// A change by a user is no change of ours, but what the pod rejects is counted.
func TestPlanCountsRejectionsOfOthers(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1, "a/1")
	r.done(verdict.Rejected, "a/2")
	if r.plan.Rejecting() != 1 || r.plan.Paused() {
		t.Errorf("expected one that rejects and nothing stopped, got %+v", r.plan)
	}
	r.plan.Gone(pod("a/2"))
	if r.plan.Rejecting() != 0 {
		t.Error("a pod that is gone rejects")
	}
	r.want("a/1")
}

// A pod that was changed for a changed platform, and whose outcome is awaited, keeps the platform unproven: what it
// rejects is not its namespace's fault.
func TestPlanAwaitsProofOfPlatform(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/1", "b/1")
	r.plan.PlatformChanged()
	r.want("a/1")
	r.done(verdict.Rejected, "a/1")
	r.wait(time.Second)
	r.want("b/1")
	r.plan.Compared()
	r.done(verdict.Rejected, "b/1")
	if !r.plan.Stopped() {
		t.Error("the platform is held for proven while its first pod's outcome is awaited")
	}
}

// What was held until a time is not changed before, and then at once.
func TestPlanHolds(t *testing.T) {
	t.Parallel()
	r := newRide(t, 1000, "a/1")
	r.plan.Hold(r.now.Add(time.Minute))
	r.none()
	if d, ok := r.plan.Wait(r.now); !ok || d != time.Minute {
		t.Errorf("expected to wait for a minute, got %s, %t", d, ok)
	}
	r.wait(time.Minute)
	r.want("a/1")
}
