package entries

import (
	"maps"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
)

// replica is a pod as a cache gets it: every part of it is its own.
func replica(name, hash string) *corev1.Pod {
	p := pod("a", name, "/api")
	p.Labels = map[string]string{registrar.IdentityLabel: "x", "pod-template-hash": hash}
	p.Spec.Containers = []corev1.Container{{Name: "app"}}
	return p
}

func TestReplicasShareWhatIsAlike(t *testing.T) {
	transform := Share(func(o any) (any, error) { return o, nil })
	keep := func(p *corev1.Pod) *corev1.Pod {
		t.Helper()
		want := p.DeepCopy()
		out, err := transform(p)
		if err != nil {
			t.Fatal(err)
		}
		kept, ok := out.(*corev1.Pod)
		if !ok {
			t.Fatalf("got %T, want a pod", out)
		}
		if diff := cmp.Diff(want, kept); diff != "" {
			t.Errorf("a pod is another one in the cache (-want +got):\n%s", diff)
		}
		return kept
	}
	shared := func(a, b map[string]string) bool {
		return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
	}
	first, second, changed := keep(replica("first", "1")), keep(replica("second", "1")), keep(replica("third", "2"))
	if !shared(first.Labels, second.Labels) || !shared(first.Annotations, second.Annotations) ||
		&first.Spec.Containers[0] != &second.Spec.Containers[0] {
		t.Error("two replicas do not share what is alike in them")
	}
	if shared(first.Labels, changed.Labels) || !shared(first.Annotations, changed.Annotations) {
		t.Error("of a replica of another revision, want other labels and the same annotations")
	}
	foreign := replica("first", "1")
	foreign.Namespace = "b"
	if kept := keep(foreign); shared(kept.Annotations, first.Annotations) {
		t.Error("pods of two namespaces share what they may change by themselves")
	}
	// What a change makes of one pod leaves the others as they are.
	foreign = replica("first", "1")
	foreign.Annotations["id"] = "/other"
	if kept := keep(foreign); maps.Equal(kept.Annotations, second.Annotations) {
		t.Error("a change of one pod is one of another")
	}
}
