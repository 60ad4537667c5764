package rollout

import (
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// formerlyLed is a world in which an earlier leader has changed all pods, and one of them has rejected that since.
func formerlyLed(w *world, namespace, rejects string) {
	w.lead()
	w.allow(namespace, "/second")
	time.Sleep(time.Minute)
	w.want(some(namespace, len(w.pods))...)
	w.stop()
	w.mu.Lock()
	w.updates[pod(rejects).NamespacedName] = templates.Updates{lds: {Refused: 1}, cds: {Taken: 2, Last: time.Now()}}
	w.looks = 0
	w.mu.Unlock()
	w.renew()
}

func TestRecall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rejects string
		prepare func(*world)
		known   float64 // pods that are known to reject
		looks   int
	}{
		"one of the first":      {rejects: "a/1", known: 1, looks: 3},
		"one that is not asked": {rejects: "a/4", looks: 3},
		"what is not wanted any more": {rejects: "a/1", prepare: func(w *world) {
			w.namespaces["a"] = in("/third")
		}},
		"what no rollout has changed": {rejects: "a/1", prepare: func(w *world) {
			for _, p := range w.pods {
				delete(p.Annotations, intent.AnnotationRefresh)
			}
		}},
		"one that says nothing": {rejects: "a/1", looks: 3, prepare: func(w *world) { w.noPage = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 10, some("a", 5), func(w *world) {
				formerlyLed(w, "a", test.rejects)
				if test.prepare != nil {
					test.prepare(w)
				}
				w.begin()
				time.Sleep(calm / 2)
				w.wantMetrics(map[string]float64{"paused": test.known, "pods rejected": test.known})
				if w.looks != test.looks { // of the one workload
					t.Errorf("asked %d Envoys, want %d", w.looks, test.looks)
				}
			})
		})
	}
}
