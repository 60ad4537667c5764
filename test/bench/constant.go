package main

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	patchFile   = "patch.json"
	patchFolder = "/etc/bench"
)

// patchOfOurs is the patch with which the injector answers for each of the pods that are created. They differ in
// nothing that matters to it, so that it fits all of them.
func (c *cluster) patchOfOurs(ctx context.Context, namespace string) ([]inject.Operation, error) {
	root, err := parts.Root()
	if err != nil {
		return nil, err
	}
	injector, err := demoInjector(root)
	if err != nil {
		return nil, err
	}
	// The API server adds to a pod before it asks a webhook, the volume of the service account's token for one.
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	asked, err := c.client.CoreV1().Pods(namespace).Create(ctx, pendingPod(namespace, withoutWebhook()), dryRun)
	if err != nil {
		return nil, err
	}
	return patchFor(injector, namespace, asked)
}

// patchFor is the injector's patch for a pod that is not labelled for it.
func patchFor(injector inject.Injector, namespace string, pod *corev1.Pod) ([]inject.Operation, error) {
	labelled := pod.DeepCopy()
	labelled.Labels[intent.LabelInject] = intent.InjectEnabled
	result, err := injector.Inject(intent.Namespace{Name: namespace}, labelled)
	if err != nil {
		return nil, fmt.Errorf("injecting a pod of namespace %s: %w", namespace, err)
	}
	return inject.Patch(labelled, result.Pod), nil
}

// mountPatch gives a webhook of the bench its patch: in a ConfigMap, as a file, by flag.
func (c *cluster) mountPatch(ctx context.Context, namespace, name string, patch []inject.Operation, spec *corev1.PodSpec) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	holder := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{patchFile: string(data)}}
	if _, err := c.client.CoreV1().ConfigMaps(namespace).Create(ctx, holder, metav1.CreateOptions{}); err != nil {
		return err
	}
	source := corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "patch", VolumeSource: corev1.VolumeSource{ConfigMap: &source}})
	container := &spec.Containers[0]
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "patch", MountPath: patchFolder, ReadOnly: true})
	container.Args = append(container.Args, "--patch", patchFolder+"/"+patchFile)
	return nil
}
