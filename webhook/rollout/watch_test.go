package rollout

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func condensed(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	keep := KeepConfig(func(o any) (any, error) { return inject.Trim(o.(*corev1.Pod)), nil })
	once, err := keep(p)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := keep(once)
	if err != nil {
		t.Fatal(err)
	}
	if kept := twice.(*corev1.Pod); kept.Annotations[keptConfig] != inject.ConfigDigest(p) ||
		kept.Annotations[intent.AnnotationListeners] != "" {
		t.Errorf("expected the digest of the configuration in its place, got %v", kept.Annotations)
	}
	return twice.(*corev1.Pod)
}

// pending is a pod that does not run yet.
func pending(p *corev1.Pod, node string) *corev1.Pod {
	out := p.DeepCopy()
	out.Spec.NodeName, out.Status.Phase = node, corev1.PodPending
	return out
}

func TestKeepConfig(t *testing.T) {
	t.Parallel()
	failing := errors.New("no")
	if _, err := KeepConfig(func(any) (any, error) { return nil, failing })(&corev1.Pod{}); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
	bare, err := KeepConfig(func(any) (any, error) { return &corev1.Pod{}, nil })(&corev1.Pod{})
	if err != nil || bare.(*corev1.Pod).Annotations[keptConfig] != inject.ConfigDigest(&corev1.Pod{}) {
		t.Errorf("got %v, %v", bare, err)
	}
	other := toolscache.DeletedFinalStateUnknown{Key: "a/0"}
	if got, err := KeepConfig(func(o any) (any, error) { return o, nil })(other); err != nil || got != other {
		t.Errorf("got %v, %v", got, err)
	}
}

// Of what a watch brings, changed configurations of one and the same pod count, and pods that go.
func TestPodWatch(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0"}, func(w *world) {
		watch := PodWatch{Rollout: w.rollout}
		first := w.pods[pod("a/0").NamespacedName]
		first.Status.Phase = corev1.PodRunning
		changed := first.DeepCopy()
		changed.Annotations[intent.AnnotationListeners] += " "
		labelled := changed.DeepCopy()
		labelled.Labels["x"] = "y"
		another := first.DeepCopy()
		another.UID = "another"
		drifted := first.DeepCopy()
		drifted.Annotations[intent.AnnotationAllowedPeers] = "/other"
		image := first.DeepCopy()
		image.Spec.InitContainers[0].Image = "other"
		next := func() task {
			time.Sleep(firstAfter + time.Second)
			if w.rollout.queue.Len() == 0 {
				return nil
			}
			got, _ := w.rollout.queue.Get()
			w.rollout.queue.Done(got)
			return got
		}
		for _, step := range []struct {
			name string
			do   func()
			want task
		}{
			{"changed", func() { watch.updated(condensed(t, first), condensed(t, changed)) }, podChanged{podOf(first), inject.ConfigDigest(changed)}},
			{"something else changed", func() { watch.updated(condensed(t, changed), condensed(t, labelled)) }, nil},
			{"the user's annotations alone", func() { watch.updated(condensed(t, first), condensed(t, drifted)) }, podMayHaveDrifted{podOf(first)}},
			{"the image alone", func() { watch.updated(condensed(t, first), condensed(t, image)) }, nil},
			{"another pod", func() { watch.updated(condensed(t, changed), condensed(t, another)) }, nil},
			{"new, without a node", func() { watch.added(condensed(t, pending(first, ""))) }, nil},
			{"new", func() { watch.added(condensed(t, pending(first, "n1"))) }, podStarts{podOf(first)}},
			{"gets a node", func() { watch.updated(condensed(t, pending(first, "")), condensed(t, pending(first, "n1"))) }, podStarts{podOf(first)}},
			{"still starts", func() { watch.updated(condensed(t, pending(first, "n1")), condensed(t, pending(first, "n1"))) }, nil},
			{"no new pod", func() { watch.added(nil) }, nil},
			{"no pod", func() { watch.updated(first, nil) }, nil},
			{"gone", func() { watch.deleted(condensed(t, first)) }, podGone{podOf(first)}},
			{"gone unseen", func() { watch.deleted(toolscache.DeletedFinalStateUnknown{Obj: condensed(t, another)}) }, podGone{podOf(another)}},
			{"no pod gone", func() { watch.deleted(toolscache.DeletedFinalStateUnknown{}) }, nil},
		} {
			step.do()
			if got := next(); got != step.want {
				t.Errorf("%s: expected %v, got %v", step.name, step.want, got)
			}
		}
		w.lead()
	})
}

// Annotations that changed past admission, where the configuration does not follow them, are brought together with it
// at once.
func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, []string{"a/0", "a/1"}, func(w *world) {
		w.lead()
		name := pod("a/0").NamespacedName
		before := w.pods[name].DeepCopy()
		w.pods[name].Annotations[intent.AnnotationAllowedPeers] = "/drifted"
		watch := PodWatch{Rollout: w.rollout}
		watch.updated(condensed(t, before), condensed(t, w.pods[name]))
		time.Sleep(10 * time.Second)
		w.want("a/0")
		watch.updated(condensed(t, before), condensed(t, w.pods[name])) // which is as it should be now
		time.Sleep(time.Minute)
		w.want()
	})
}
