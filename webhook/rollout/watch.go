package rollout

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/spire-injector/spire-injector/webhook"
)

// PodWatch tells the rollout of pods whose configuration changes, whoever changes it. It keeps a digest of each pod, no more.
type PodWatch struct {
	Config  *rest.Config
	Rollout *Rollout
}

// NeedLeaderElection says that one replica does it for all.
func (w *PodWatch) NeedLeaderElection() bool { return true }

// Start implements the manager's Runnable.
func (w *PodWatch) Start(ctx context.Context) error {
	client, err := metadata.NewForConfig(w.Config)
	if err != nil {
		return fmt.Errorf("watching injected pods: %w", err)
	}
	informer := metadatainformer.NewFilteredMetadataInformer(client, corev1.SchemeGroupVersion.WithResource("pods"), metav1.NamespaceAll, 0, toolscache.Indexers{},
		func(o *metav1.ListOptions) { o.LabelSelector = webhook.LabelIdentity }).Informer()
	if err := informer.SetTransform(condensed); err != nil {
		return fmt.Errorf("watching injected pods: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{UpdateFunc: w.updated, DeleteFunc: w.deleted})
	if err != nil {
		return fmt.Errorf("watching injected pods: %w", err)
	}
	informer.RunWithContext(ctx)
	return nil
}

func (w *PodWatch) updated(before, after any) {
	was, okBefore := before.(*metav1.PartialObjectMetadata)
	is, okAfter := after.(*metav1.PartialObjectMetadata)
	if okBefore && okAfter && was.UID == is.UID && was.Annotations[configKey] != is.Annotations[configKey] {
		w.Rollout.PodChanged(identified(is), is.Annotations[configKey])
	}
}

func (w *PodWatch) deleted(object any) {
	if late, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = late.Obj
	}
	if pod, ok := object.(*metav1.PartialObjectMetadata); ok {
		w.Rollout.PodGone(identified(pod))
	}
}

func identified(pod *metav1.PartialObjectMetadata) Pod {
	return Pod{types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, pod.UID}
}

// configKey is where a condensed pod has its digest.
const configKey = "config"

// condensed is what of a pod is kept.
func condensed(object any) (any, error) {
	pod, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: pod.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Annotations: map[string]string{configKey: digest(pod.Annotations)},
	}}, nil
}

// Config is a digest of the configuration that a pod's Envoy is given.
func Config(pod *corev1.Pod) string { return digest(pod.Annotations) }

func digest(annotations map[string]string) string {
	return webhook.ConfigDigest(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}})
}
