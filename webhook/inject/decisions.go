package inject

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Bounds of [Decisions], which take some 15 MiB at most.
const (
	maxCreated   = 256
	maxValidated = 4096
	maxNeeds     = 4096
	// maxKeptEntries is how many entries a pod may need of which that is kept.
	maxKeptEntries = 4
	// maxKeptPatch is how many bytes a patch that is kept may have.
	maxKeptPatch = 32 << 10
	// maxRecognised is how many bytes a pod and its namespace may have, each of them, to be recognised.
	maxRecognised = 128 << 10
)

// Decisions keeps decisions that admitted pods, for the many that differ in nothing a decision is made by: replicas of
// one workload. It never keeps a denial. It belongs to one [Injector]: with another platform file comes an empty one.
// It is safe for concurrent use.
type Decisions struct {
	created, validated *lru.Cache // recognition -> Result without a pod
	objects            *lru.Cache // recognition of a pod in JSON -> the same as validated
	needs              *lru.Cache // recognition -> replicaNeeds
}

// NewDecisions has room for a few thousand decisions.
func NewDecisions() *Decisions {
	return &Decisions{
		created:   lru.New(maxCreated),
		validated: lru.New(maxValidated),
		objects:   lru.New(maxValidated),
		needs:     lru.New(maxNeeds),
	}
}

// Create is [Injector.Inject] for the API server: the result has a patch and no pod, and may be remembered.
func (i Injector) Create(ns intent.Namespace, pod *corev1.Pod) (Result, error) {
	ns = ns.Selecting(pod) // Services of other pods change nothing
	var kept *lru.Cache
	if i.Decisions != nil {
		kept = i.Decisions.created
	}
	res, err := recall(kept, i.Sealing.stamp(), ns, pod, func(pod *corev1.Pod) (Result, error) {
		res, err := i.Inject(ns, pod)
		if err != nil {
			return Result{}, err
		}
		res.patch, err = res.JSONPatch(pod)
		res.Pod = nil
		return res, err
	})
	res.whole = func() (Result, error) { return i.Inject(ns, pod) }
	return res, err
}

// ValidateCreated is [Injector.Validate] for the API server: the result has no pod, and may be remembered.
func (i Injector) ValidateCreated(ns intent.Namespace, pod *corev1.Pod) (Result, error) {
	var kept *lru.Cache
	if i.Decisions != nil {
		kept = i.Decisions.validated
	}
	return recall(kept, 0, ns, pod, func(pod *corev1.Pod) (Result, error) {
		res, err := i.Validate(ns, pod)
		res.Pod = nil
		return res, err
	})
}

// ValidateObject is [Injector.ValidateCreated] of a pod in JSON, which is decoded by pod unless one like it was admitted.
func (i Injector) ValidateObject(
	ns intent.Namespace, object []byte, pod func() (*corev1.Pod, error),
) (Result, error) {
	var key recognition
	recognisable := false
	if i.Decisions != nil {
		key, recognisable = recognitionOfObject(ns, object)
	}
	if recognisable {
		if known, ok := i.Decisions.objects.Get(key); ok {
			res := known.(Result)
			res.Remembered = true
			return res, nil
		}
	}
	decoded, err := pod()
	if err != nil {
		return Result{}, err
	}
	res, err := i.ValidateCreated(ns, decoded)
	if err == nil && recognisable && !res.sealed {
		i.Decisions.objects.Add(key, res)
	}
	return res, err
}

// recall returns the decision on a pod that is the same, or decides. It decides on what it compares, and sees nothing
// else of the pod: so pods that are taken for the same cannot be decided on differently. A decision with another stamp
// is made again, and one by a seal is not kept.
func recall(
	kept *lru.Cache, stamp int64, ns intent.Namespace, pod *corev1.Pod, decide func(*corev1.Pod) (Result, error),
) (Result, error) {
	like := likeItsReplicas(pod)
	var key recognition
	recognisable := false
	if kept != nil {
		key, recognisable = recognitionOf(ns, like)
	}
	if recognisable {
		known, ok := kept.Get(key)
		if res, is := known.(Result); ok && is && res.stamp == stamp {
			res.Remembered = true
			return res, nil
		}
	}
	res, err := decide(like)
	res.stamp = stamp
	switch {
	case err != nil && strings.Contains(err.Error(), anyTokenVolume), bytes.Contains(res.patch, []byte(anyTokenVolume)):
		return decide(pod) // whose volume has another name
	case err == nil && recognisable && !res.sealed && len(res.patch) <= maxKeptPatch:
		kept.Add(key, res)
	}
	return res, err
}

// recognition distinguishes pods, with their namespaces, without keeping what they say.
type recognition [sha256.Size]byte

// recognitionOf is false for a pod that is too large for it to be worth while.
func recognitionOf(ns intent.Namespace, pod *corev1.Pod) (recognition, bool) {
	if pod.Size() > maxRecognised {
		return recognition{}, false
	}
	of, ok := recognitionOfNamespace(ns)
	if !ok {
		return recognition{}, false
	}
	// This encoding sorts maps, has all fields of the API, and takes an empty list for none, as deciding does.
	body, err := pod.Marshal()
	if err != nil {
		return recognition{}, false
	}
	return sha256.Sum256(append(of[:], body...)), true
}

func recognitionOfNamespace(ns intent.Namespace) (recognition, bool) {
	in := metav1.ObjectMeta{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	if in.Size() > maxRecognised {
		return recognition{}, false
	}
	space, err := in.Marshal()
	if err != nil || len(ns.Services) == 0 {
		return sha256.Sum256(space), err == nil
	}
	services, err := json.Marshal(ns.Services)
	if len(services) > maxRecognised {
		return recognition{}, false
	}
	of := sha256.Sum256(space)
	return sha256.Sum256(append(of[:], services...)), err == nil
}

// anyTokenVolume is in the place of the name of the volume with the service account's token, which ends at random. No
// volume can have this name.
const anyTokenVolume = tokenVolumePrefix + "?????"

func isTokenVolume(name string) bool {
	return len(name) == len(anyTokenVolume) && strings.HasPrefix(name, tokenVolumePrefix)
}

// likeItsReplicas is what decisions look at of a pod: its labels, annotations and spec, with one name for the volume
// that the API server names at random. The pod given stays as it is, and shares what is the same.
func likeItsReplicas(pod *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		TypeMeta:   pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations},
		Spec:       pod.Spec,
	}
	isToken := func(v corev1.Volume) bool { return isTokenVolume(v.Name) }
	at := slices.IndexFunc(out.Spec.Volumes, isToken)
	if at < 0 || slices.ContainsFunc(out.Spec.Volumes[at+1:], isToken) { // two must stay different
		return out
	}
	name := out.Spec.Volumes[at].Name
	out.Spec.Volumes = slices.Clone(out.Spec.Volumes)
	out.Spec.Volumes[at].Name = anyTokenVolume
	out.Spec.InitContainers = withMountsRenamed(out.Spec.InitContainers, name)
	out.Spec.Containers = withMountsRenamed(out.Spec.Containers, name)
	return out
}

// withMountsRenamed are containers that mount [anyTokenVolume] where they mount the volume of a name.
func withMountsRenamed(containers []corev1.Container, name string) []corev1.Container {
	out := slices.Clone(containers)
	for i := range out {
		named := func(m corev1.VolumeMount) bool { return m.Name == name }
		if !slices.ContainsFunc(out[i].VolumeMounts, named) {
			continue
		}
		out[i].VolumeMounts = slices.Clone(out[i].VolumeMounts)
		for n := range out[i].VolumeMounts {
			if named(out[i].VolumeMounts[n]) {
				out[i].VolumeMounts[n].Name = anyTokenVolume
			}
		}
	}
	return out
}
