package rollout

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// PodWatch notifies the rollout of new pods, and of pods whose configuration changes, whoever changes it. Its pods are
// those of the manager's cache, which has to keep the digest of their configuration: see [KeepConfig].
type PodWatch struct {
	Cache   cache.Informers
	Rollout *Rollout
}

// NeedLeaderElection says that one replica does it for all.
func (w *PodWatch) NeedLeaderElection() bool { return true }

// Start implements the manager's Runnable.
func (w *PodWatch) Start(ctx context.Context) error {
	informer, err := w.Cache.GetInformer(ctx, &corev1.Pod{})
	if err != nil {
		return fmt.Errorf("watching injected pods: %w", err)
	}
	handler, err := informer.AddEventHandler(
		toolscache.ResourceEventHandlerFuncs{AddFunc: w.added, UpdateFunc: w.updated, DeleteFunc: w.deleted})
	if err != nil {
		return fmt.Errorf("watching injected pods: %w", err)
	}
	<-ctx.Done()
	return informer.RemoveEventHandler(handler)
}

func (w *PodWatch) added(object any) {
	if pod, ok := object.(*corev1.Pod); ok && starts(pod) {
		w.Rollout.PodStarts(podOf(pod))
	}
}

func (w *PodWatch) updated(before, after any) {
	was, okBefore := before.(*corev1.Pod)
	is, okAfter := after.(*corev1.Pod)
	switch {
	case !okBefore || !okAfter:
	case was.UID != is.UID:
		w.added(is)
	case starts(is) && !starts(was):
		w.Rollout.PodStarts(podOf(is))
	case was.Annotations[keptConfig] != is.Annotations[keptConfig]:
		w.Rollout.PodChanged(podOf(is), is.Annotations[keptConfig])
	case saysOtherwise(was, is):
		w.Rollout.PodMayHaveDrifted(podOf(is))
	}
}

// saysOtherwise says whether annotations that users write differ. The configuration follows them in the same change,
// unless somebody went past admission.
func saysOtherwise(a, b *corev1.Pod) bool {
	return slices.ContainsFunc(intent.WrittenByUsers(), func(key string) bool {
		return key != intent.AnnotationRefresh && a.Annotations[key] != b.Annotations[key]
	})
}

func (w *PodWatch) deleted(object any) {
	if late, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = late.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		w.Rollout.PodGone(podOf(pod))
	}
}

// keptConfig is where a pod in the cache has the digest of its configuration. No annotation of the API server's can
// be called so.
const keptConfig = "digest of the configuration"

// KeepConfig lets a cache keep the digest of a pod's configuration where transform drops the configuration itself,
// for its size.
func KeepConfig(transform toolscache.TransformFunc) toolscache.TransformFunc {
	return func(object any) (any, error) {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return transform(object)
		}
		config, kept := pod.Annotations[keptConfig] // a cache may transform an object twice
		if !kept {
			config = inject.ConfigDigest(pod)
		}
		out, err := transform(pod)
		if small, ok := out.(*corev1.Pod); ok && err == nil {
			if small.Annotations == nil {
				small.Annotations = map[string]string{}
			}
			small.Annotations[keptConfig] = config
		}
		return out, err
	}
}
