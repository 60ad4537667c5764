package inject

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// replica is a pod of a template as the API server sends it: each has another name and another token volume.
func replica(n int) *corev1.Pod {
	pod := webhooktest.Server()
	pod.Name = fmt.Sprintf("api-%d", n)
	pod.UID = types.UID(fmt.Sprint("uid-", n))
	pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "api"}}
	token := fmt.Sprintf("%s%05d", tokenVolumePrefix, n)
	pod.Spec.Volumes = []corev1.Volume{{Name: token}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: token, MountPath: serviceAccountDir}}
	return pod
}

// remembering is an injector that has decisions of its own.
func remembering(t *testing.T) Injector {
	t.Helper()
	return Injector{Platform: webhooktest.Platform(t), Decisions: NewDecisions()}
}

func TestReplicasAreRemembered(t *testing.T) {
	injector, demo := remembering(t), intent.Namespace{Name: "demo"}
	for n := range 3 {
		pod := replica(n)
		before := pod.DeepCopy()
		res, err := injector.Create(demo, pod)
		if err != nil || res.Remembered != (n > 0) {
			t.Fatalf("replica %d: remembered=%t, %v", n, res.Remembered, err)
		}
		whole, err := injector.Inject(demo, pod)
		if err != nil {
			t.Fatal(err)
		}
		want, err := whole.JSONPatch(pod)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := res.JSONPatch(pod); err != nil || string(got) != string(want) {
			t.Errorf("replica %d: expected the patch\n%s\ngot\n%s (%v)", n, want, got, err)
		}
		if !reflect.DeepEqual(res.Decision, whole.Decision) || !reflect.DeepEqual(res.Workloads, whole.Workloads) {
			t.Errorf("replica %d: expected %+v, got %+v", n, whole, res)
		}
		validated, err := injector.ValidateCreated(demo, whole.Pod)
		if err != nil || validated.Remembered != (n > 0) {
			t.Errorf("replica %d, validating: remembered=%t, %v", n, validated.Remembered, err)
		}
		if !reflect.DeepEqual(pod, before) {
			t.Errorf("replica %d: the pod that was given has changed", n)
		}
	}
}

// A remembered decision is as good as one that is made when SPIRE does not answer.
func TestRememberedDecisionIsDeferred(t *testing.T) {
	injector, demo := remembering(t), intent.Namespace{Name: "demo"}
	var patches []string
	for n := range 2 {
		res, err := injector.Create(demo, replica(n))
		if err != nil {
			t.Fatal(err)
		}
		if res, err = Deferred(res); err != nil {
			t.Fatal(err)
		}
		patch, err := res.JSONPatch(replica(n))
		if err != nil || !strings.Contains(string(patch), `\"deferred\":true`) {
			t.Fatalf("expected a status that says so, got %s (%v)", patch, err)
		}
		patches = append(patches, string(patch))
	}
	if patches[0] != patches[1] {
		t.Errorf("expected equal patches, got\n%s\n%s", patches[0], patches[1])
	}
}

// Whatever a decision is made by makes another one, in the namespace as in the pod.
func TestOthersAreNotRemembered(t *testing.T) {
	demo := intent.Namespace{Name: "demo", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"a": "b"}}
	others := map[string]intent.Namespace{
		"name":              {Name: "other", Labels: demo.Labels, Annotations: demo.Annotations},
		"labels":            {Name: "demo", Annotations: demo.Annotations},
		"annotations":       {Name: "demo", Labels: demo.Labels},
		"label, moved":      {Name: "demo", Annotations: map[string]string{"a": "bb"}, Labels: map[string]string{"a": ""}},
		"annotation, moved": {Name: "demo", Annotations: map[string]string{"a": ""}, Labels: map[string]string{"a": "bb"}},
	}
	like := likeItsReplicas(replica(1))
	base, ok := recognitionOf(demo, like)
	if !ok {
		t.Fatal("the pod is not recognised")
	}
	for name, ns := range others {
		if got, _ := recognitionOf(ns, like); got == base {
			t.Errorf("a namespace with another %s: expected another recognition", name)
		}
	}
	changed := func(path string) {
		if got, _ := recognitionOf(demo, like); got == base {
			t.Errorf("a pod with another %s: expected another recognition", path)
		}
	}
	alterations("spec", reflect.ValueOf(&like.Spec).Elem(), changed)
	alterations("labels", reflect.ValueOf(&like.Labels).Elem(), changed)
	alterations("annotations", reflect.ValueOf(&like.Annotations).Elem(), changed)
}

func TestOneTokenVolumeIsAnonymous(t *testing.T) {
	names := func(pod *corev1.Pod) []string {
		var names []string
		for _, v := range pod.Spec.Volumes {
			names = append(names, v.Name)
		}
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			names = append(names, m.Name)
		}
		return names
	}
	pod := replica(1)
	if got := names(likeItsReplicas(pod)); !reflect.DeepEqual(got, []string{anyTokenVolume, anyTokenVolume}) {
		t.Errorf("got %q", got)
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: tokenVolumePrefix + "other"})
	if got, want := names(likeItsReplicas(pod)), names(pod); !reflect.DeepEqual(got, want) {
		t.Errorf("of two: expected them as they are, %q, got %q", want, got)
	}
	pod = replica(1)
	pod.Spec.Volumes[0].Name += "-of-the-user"
	if got, want := names(likeItsReplicas(pod)), names(pod); !reflect.DeepEqual(got, want) {
		t.Errorf("of the user's: expected it as it is, %q, got %q", want, got)
	}
}

func TestWhatIsNotRemembered(t *testing.T) {
	text := func(pod *corev1.Pod) string { return pod.Spec.Volumes[0].Name }
	large := replica(1)
	large.Annotations["example.org/large"] = strings.Repeat("x", maxRecognised)
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		decide func(*corev1.Pod) (Result, error)
		want   string // in the patch or the error of both
	}{
		"a denial": {replica(1), func(*corev1.Pod) (Result, error) { return Result{}, errors.New("no") }, "no"},
		"a denial that names the volume": {
			replica(1), func(pod *corev1.Pod) (Result, error) { return Result{}, errors.New(text(pod)) }, text(replica(1)),
		},
		"a patch that names the volume": {
			replica(1), func(pod *corev1.Pod) (Result, error) { return Result{patch: []byte(text(pod))}, nil }, text(replica(1)),
		},
		"a large patch": {
			replica(1), func(*corev1.Pod) (Result, error) { return Result{patch: make([]byte, maxKeptPatch+1)}, nil }, "",
		},
		"a large pod": {large, func(*corev1.Pod) (Result, error) { return Result{patch: []byte("yes")}, nil }, "yes"},
	} {
		kept := lru.New(maxCreated)
		for range 2 {
			res, err := recall(kept, 0, intent.Namespace{Name: "demo"}, test.pod, test.decide)
			if got := string(res.patch) + fmt.Sprint(err); res.Remembered || !strings.Contains(got, test.want) {
				t.Errorf("%s: remembered=%t, expected %q in %q", name, res.Remembered, test.want, got)
			}
		}
		if kept.Len() > 0 {
			t.Errorf("%s: %d decisions are kept", name, kept.Len())
		}
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	injector := remembering(t)
	for n := range maxCreated + 10 {
		pod := replica(n)
		pod.Labels["example.org/n"] = fmt.Sprint(n)
		if _, err := injector.Create(intent.Namespace{Name: "demo"}, pod); err != nil {
			t.Fatal(err)
		}
	}
	if got := injector.Decisions.created.Len(); got != maxCreated {
		t.Errorf("expected %d decisions to be kept, got %d", maxCreated, got)
	}
}
