package rollout

import (
	"context"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// call is a task of a test, which may look at what only tasks may.
type call struct{ f func(context.Context) }

func (c *call) do(ctx context.Context, _ *Rollout) error { c.f(ctx); return nil }

// inTurn does something in the rollout's own goroutine.
func (w *world) inTurn(f func(context.Context)) {
	w.t.Helper()
	done := make(chan struct{})
	w.rollout.queue.Add(&call{func(ctx context.Context) { f(ctx); close(done) }})
	<-done
}

// Many pods may be changed by others at a time. Only some are looked at, and those that the rollout changes are not
// counted.
func TestObservedPodsAreBounded(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, append(some("a", maxObserved+2), "b/0"), func(w *world) {
		w.lead()
		w.slow = time.Minute
		w.allow("b", "/second")
		time.Sleep(debounce + 10*time.Millisecond)
		w.want("b/0")
		for _, name := range some("a", maxObserved+2) {
			w.rollout.PodChanged(Pod{pod(name).NamespacedName, w.pods[pod(name).NamespacedName].UID}, "another")
		}
		time.Sleep(10 * time.Millisecond)
		w.inTurn(func(context.Context) {
			if got := len(w.rollout.awaited); got != maxObserved+1 {
				t.Errorf("expected the outcomes of %d pods to be awaited, got %d", maxObserved+1, got)
			}
		})
		time.Sleep(2 * time.Minute)
	})
}

// Of two changes of a pod the later one's outcome counts, and nobody goes on asking for the first.
func TestLaterAwaitReplacesEarlier(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		key := pod("a/0").NamespacedName
		w.inTurn(func(ctx context.Context) {
			first := &await{pod: w.pods[key], before: w.updates[key]}
			w.rollout.start(ctx, first)
			w.rollout.start(ctx, &await{pod: w.pods[key], before: w.updates[key]})
			if w.rollout.awaited[podOf(w.pods[key])] == first {
				t.Error("the first is awaited")
			}
		})
		looks := w.looks
		time.Sleep(time.Minute)
		if got := w.looks - looks; got != len(pauses) {
			t.Errorf("Envoy was asked %d times, want %d", got, len(pauses))
		}
	})
}

// Envoys that never say what became of a change are not asked again.
func TestAwaitOfEnvoyWithoutPage(t *testing.T) {
	t.Parallel()
	inWorld(t, 10, some("a", 1), func(w *world) {
		w.lead()
		w.noPage = true
		key := pod("a/0").NamespacedName
		w.inTurn(func(ctx context.Context) {
			w.rollout.start(ctx, &await{pod: w.pods[key], before: w.updates[key], ours: true})
		})
		time.Sleep(time.Minute)
		if w.looks != 1 {
			t.Errorf("Envoy was asked %d times", w.looks)
		}
	})
}

// An Envoy that had read the files before it was asked for the first time is known by what it says of them.
func TestAwaitOfEnvoyThatWasFaster(t *testing.T) {
	t.Parallel()
	for name, ours := range map[string]bool{"of others": false, "of the rollout": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 10, some("a", 1), func(w *world) {
				w.lead()
				time.Sleep(time.Minute)
				key := pod("a/0").NamespacedName
				w.pods[key].Annotations[intent.AnnotationListeners] += "spiffe://example.org/bad"
				w.kubelet(key, "envoy")
				w.inTurn(func(ctx context.Context) {
					w.rollout.start(ctx, &await{pod: w.pods[key], before: w.updates[key], ours: ours})
				})
				time.Sleep(time.Minute)
				w.wantEvents("a/0 ConfigurationRejected")
				rejected := map[bool]float64{false: 0, true: 1}
				w.wantMetrics(map[string]float64{"refreshes_total rejected": rejected[ours], "pods rejected": 1})
			})
		})
	}
}
