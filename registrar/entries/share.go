package entries

import (
	"reflect"
	"unique"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/lru"

	"github.com/spire-injector/spire-injector/registrar"
)

// sharing bounds the identities of which a pod is remembered to share with, of some KiB each. Pods of more of them are
// kept as well, and share less.
const sharing = 4096

// Share lets the pods that a cache keeps share what is alike in the replicas of a workload, which is nearly all that is
// left of them: labels, annotations, and the names of containers. Nobody may change an object of a cache in place.
func Share(transform toolscache.TransformFunc) toolscache.TransformFunc {
	last := lru.New(sharing)
	return func(object any) (any, error) {
		out, err := transform(object)
		pod, ok := out.(*corev1.Pod)
		if !ok || err != nil {
			return out, err
		}
		pod.Namespace = unique.Make(pod.Namespace).Value()
		pod.Spec.NodeName = unique.Make(pod.Spec.NodeName).Value()
		key := [2]string{pod.Namespace, pod.Labels[registrar.IdentityLabel]}
		if known, there := last.Get(key); there {
			if other, ok := known.(*corev1.Pod); ok {
				shareWith(pod, other)
			}
		}
		last.Add(key, pod)
		return pod, nil
	}
}

// shareWith has a pod use what is equal in another one.
func shareWith(pod, other *corev1.Pod) {
	share(&pod.Labels, other.Labels)
	share(&pod.Annotations, other.Annotations)
	share(&pod.Spec.InitContainers, other.Spec.InitContainers)
	share(&pod.Spec.Containers, other.Spec.Containers)
	share(&pod.Spec.ServiceAccountName, other.Spec.ServiceAccountName)
}

func share[T any](own *T, others T) {
	if reflect.DeepEqual(*own, others) {
		*own = others
	}
}
