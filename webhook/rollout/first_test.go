package rollout

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/templates"
)

// starting has pods that are new: their sidecars run, and have not passed their startup probe.
func (w *world) starting(said templates.Updates, names ...string) {
	for _, name := range names {
		key := pod(name).NamespacedName
		w.mu.Lock()
		p := w.pods[key].DeepCopy()
		p.Status.InitContainerStatuses[0].Started = new(false)
		w.pods[key], w.updates[key] = p, said
		w.mu.Unlock()
		w.rollout.PodStarts(podOf(p))
	}
}

// started lets the sidecar of a pod pass its startup probe.
func (w *world) started(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := pod(name).NamespacedName
	p := w.pods[key].DeepCopy()
	p.Status.InitContainerStatuses[0].Started = new(true)
	w.pods[key] = p
}

func (w *world) says(name string, said templates.Updates) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.updates[pod(name).NamespacedName] = said
}

var (
	cannotBind = templates.Updates{lds: {Refused: 1}, cds: {Taken: 1}}
	readNone   = templates.Updates{lds: {}, cds: {}}
	readAll    = templates.Updates{lds: {Taken: 1}, cds: {Taken: 1}}
)

// A new pod whose Envoy rejects what it is given first is told of once, within a minute, with its replicas.
func TestFirstRejectedConfigurationIsReported(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0", "a/1", "b/0"}, func(w *world) {
		w.lead()
		w.starting(cannotBind, "a/0")
		time.Sleep(time.Second)
		w.starting(cannotBind, "b/0")
		time.Sleep(time.Minute - 2*time.Second)
		w.wantEvents(
			"a/0 ConfigurationRejected: Envoy rejects the first configuration that this pod was given (listeners.yaml)",
			"b/0 ConfigurationRejected")
		w.starting(cannotBind, "a/1") // another replica
		time.Sleep(10 * time.Minute)
		w.wantEvents()
		w.wantMetrics(map[string]float64{"pods rejected_at_start": 3, "pods rejected": 0})
		w.want()
		for _, name := range []string{"a/0", "a/1"} {
			key := pod(name).NamespacedName
			gone := podOf(w.pods[key])
			delete(w.pods, key)
			w.rollout.PodGone(gone)
		}
		time.Sleep(time.Second)
		w.wantMetrics(map[string]float64{"pods rejected_at_start": 1})
	})
}

// Envoy answers only when it has its SVID, which may take as long as it likes; then a minute is enough.
func TestFirstConfigurationIsAwaited(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0", "a/1"}, func(w *world) {
		w.lead()
		w.starting(nil, "a/0")
		w.starting(readNone, "a/1")
		time.Sleep(time.Hour)
		w.wantEvents()
		w.says("a/0", cannotBind)
		w.says("a/1", readAll)
		w.started("a/1")
		time.Sleep(time.Minute - time.Second)
		w.wantEvents("a/0 ConfigurationRejected")
		w.mu.Lock()
		looks := w.looks
		w.mu.Unlock()
		time.Sleep(time.Hour)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.looks != looks {
			t.Errorf("Envoys that started, or were reported, were asked %d times more", w.looks-looks)
		}
	})
}

// Clusters that are rejected do not keep a pod from starting.
func TestFirstConfigurationOfAPodThatStarted(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0"}, func(w *world) {
		w.lead()
		w.starting(templates.Updates{lds: {Taken: 1}, cds: {Refused: 1}}, "a/0")
		w.started("a/0")
		time.Sleep(time.Minute)
		w.wantEvents("a/0 ConfigurationRejected: Envoy rejects the first configuration that this pod was given (clusters.yaml)")
		// What somebody gives it afterwards is another one.
		key := pod("a/0").NamespacedName
		w.mu.Lock()
		p := w.pods[key].DeepCopy()
		p.Annotations["spiffe.io/listeners"] += " "
		w.pods[key] = p
		w.mu.Unlock()
		w.rollout.PodChanged(podOf(p), "another")
		time.Sleep(time.Second)
		w.says("a/0", templates.Updates{lds: {Taken: 2, Last: time.Now()}, cds: {Taken: 1, Refused: 1, Last: time.Now()}})
		time.Sleep(time.Minute)
		w.wantEvents()
		w.wantMetrics(map[string]float64{"pods rejected_at_start": 0})
	})
}

// Of many new pods some are asked at a time, and all of them in the end.
func TestNewPodsAskedAreBounded(t *testing.T) {
	t.Parallel()
	names := some("a", maxFirst+5)
	inWorld(t, 1, names, func(w *world) {
		w.lead()
		w.hang = map[string]time.Duration{"a": time.Second}
		w.mu.Lock()
		before := w.looks
		w.mu.Unlock()
		w.starting(readAll, names...)
		for _, name := range names {
			w.started(name)
		}
		time.Sleep(firstAfter + 500*time.Millisecond)
		w.mu.Lock()
		if w.looks != before {
			t.Errorf("expected no answer yet, got %d", w.looks-before)
		}
		w.mu.Unlock()
		time.Sleep(time.Second)
		asked := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.looks - before }
		if got := asked(); got != maxFirst {
			t.Errorf("%d were asked at a time, want %d", got, maxFirst)
		}
		time.Sleep(time.Minute)
		if got := asked(); got != len(names) {
			t.Errorf("%d were asked, want %d", got, len(names))
		}
	})
}

// A pod that is gone when it is its turn, or that cannot be read, is nobody's rejection.
func TestFirstConfigurationOfPodsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0"}, func(w *world) {
		w.lead()
		w.rollout.PodStarts(Pod{types.NamespacedName{Namespace: "a", Name: "gone"}, "x"})
		w.hidden = true
		w.starting(cannotBind, "a/0")
		time.Sleep(time.Minute)
		w.wantEvents()
		w.mu.Lock()
		w.hidden = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.wantEvents("a/0 ConfigurationRejected")
	})
}

// A pod that has taken the name of one that was new is not that one, one that ends is not asked, and of one that goes
// while it is asked nothing is kept.
func TestFirstConfigurationOfAPodThatIsGone(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0"}, func(w *world) {
		w.lead()
		w.hang = map[string]time.Duration{"a": time.Second}
		w.starting(cannotBind, "a/0")
		time.Sleep(firstAfter + 500*time.Millisecond)
		w.rollout.PodGone(podOf(w.pods[pod("a/0").NamespacedName]))
		time.Sleep(time.Minute)
		w.wantEvents()
		w.wantMetrics(map[string]float64{"pods rejected_at_start": 0})
	})
	inWorld(t, 1, []string{"a/0", "a/1"}, func(w *world) {
		w.lead()
		w.says("a/0", cannotBind)
		w.rollout.PodStarts(Pod{pod("a/0").NamespacedName, "the one before"})
		ends := w.pods[pod("a/1").NamespacedName]
		ends.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		w.starting(cannotBind, "a/1")
		time.Sleep(time.Minute)
		w.wantEvents()
		w.wantMetrics(map[string]float64{"pods rejected_at_start": 0})
	})
}

func TestStarts(t *testing.T) {
	t.Parallel()
	for i, test := range []struct {
		pod  corev1.Pod
		want bool
	}{
		{corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}, true},
		{corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}}, false},
		{corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}, false},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if got := starts(&test.pod); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
