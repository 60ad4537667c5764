package scale

import (
	"fmt"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
)

// KeptFigures are what a replica keeps in memory of all injected pods.
type KeptFigures struct {
	Pods      int `json:"pods"`
	Workloads int `json:"workloads"`
	// Stored is how many bytes a pod has as the API server sends it.
	Stored int `json:"storedBytes"`
	// Held is how many bytes the cache keeps of a pod, for everything that is watched and done with it.
	Held int `json:"heldBytes"`
}

// Kept measures what a transformation of a cache leaves of pods. The pods are replicas of workloads that differ in
// names; the function makes one of a workload.
func Kept(pods, workloads int, injected func(workload int) (*corev1.Pod, error), transform toolscache.TransformFunc) (KeptFigures, error) {
	f := KeptFigures{Pods: pods, Workloads: workloads}
	if _, err := injected(0); err != nil { // what is made once, for all pods
		return f, err
	}
	before := held()
	cache := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc})
	for w := range workloads {
		template, err := injected(w)
		if err != nil {
			return f, err
		}
		for i := range pods / workloads {
			template.Name = fmt.Sprintf("workload-%d-%d", w, i)
			template.UID = types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", w*pods/workloads+i))
			template.Spec.NodeName = nodeName(i)
			// As it comes from the API server, every pod has strings of its own.
			data, err := template.Marshal()
			if err != nil {
				return f, err
			}
			f.Stored = len(data)
			pod := &corev1.Pod{}
			if err := pod.Unmarshal(data); err != nil {
				return f, err
			}
			kept, err := transform(pod)
			if err != nil {
				return f, err
			}
			if err := cache.Add(kept); err != nil {
				return f, err
			}
		}
	}
	f.Held = (held() - before) / pods
	runtime.KeepAlive(cache)
	return f, nil
}
