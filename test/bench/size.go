package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// sizeFigures are the bytes of the values of a pod's generated annotations, and of the JSON patch that brings them.
type sizeFigures struct {
	Pod           string `json:"pod"`
	Bootstrap     int    `json:"bootstrap"`
	Listeners     int    `json:"listeners"`
	Clusters      int    `json:"clusters"`
	Authorization int    `json:"authorization"`
	Status        int    `json:"status"`
	Annotations   int    `json:"annotations"` // all of the above, without keys
	Patch         int    `json:"patch"`
	// Refused is why there is no such pod: what is generated for it does not fit into annotations.
	Refused string `json:"refused,omitempty"`
}

// upstreamCounts are those of the made-up clients beside the demo's pods.
func upstreamCounts() []int { return []int{1, 10, 100} }

// measureSize asks the functions of the webhook, not the webhook: the figures depend on the sources alone.
func measureSize(_ context.Context, _ settings, _ *cluster, r *report) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	injector, err := demoInjector(root)
	if err != nil {
		return err
	}
	for _, name := range []string{"api", "valid-api-client"} {
		pod, err := demoPod(root, name)
		if err != nil {
			return err
		}
		figures, err := sizeOf(injector, name, pod)
		if err != nil {
			return err
		}
		r.Size = append(r.Size, figures)
	}
	for _, n := range upstreamCounts() {
		pod, err := clientOfMany(n)
		if err != nil {
			return err
		}
		figures, err := sizeOf(injector, fmt.Sprintf("%d upstreams", n), pod)
		if err != nil {
			return err
		}
		r.Size = append(r.Size, figures)
	}
	return nil
}

func demoInjector(root string) (inject.Injector, error) {
	file := filepath.Join(root, filepath.FromSlash(platformFolder), "config.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		return inject.Injector{}, err
	}
	platform, err := intent.ParsePlatform(data)
	if err != nil {
		return inject.Injector{}, fmt.Errorf("%s: %w", file, err)
	}
	return inject.Injector{Platform: platform, Version: "dev"}, nil
}

// demoPod is the pod of a Deployment of the demo, which is the first document of the file of its name.
func demoPod(root, name string) (*corev1.Pod, error) {
	file, err := os.Open(filepath.Join(root, "manifests", "demo", "api", "workloads", name+".yaml"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var deployment appsv1.Deployment
	if err := yaml.NewYAMLOrJSONDecoder(file, 4096).Decode(&deployment); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", file.Name(), err)
	}
	return &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}, nil
}

// clientOfMany is a pod that calls n services, each with an identity of its own.
func clientOfMany(n int) (*corev1.Pod, error) {
	type upstream struct {
		Listen  int      `json:"listen"`
		Address string   `json:"address"`
		Peers   []string `json:"peers"`
	}
	var upstreams []upstream
	for i := range n {
		upstreams = append(upstreams, upstream{
			Listen:  20000 + i,
			Address: fmt.Sprintf("service-%d.demo.svc:8443", i),
			Peers:   []string{fmt.Sprintf("/ns/demo/sa/service-%d", i)},
		})
	}
	list, err := sigsyaml.Marshal(upstreams)
	if err != nil {
		return nil, err
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{intent.LabelInject: intent.InjectEnabled},
			Annotations: map[string]string{intent.AnnotationUpstreams: string(list)},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "client", Image: sampleImage}}},
	}, nil
}

func sizeOf(injector inject.Injector, name string, pod *corev1.Pod) (sizeFigures, error) {
	result, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	var refusal *intent.Refusal
	if errors.As(err, &refusal) {
		return sizeFigures{Pod: name, Refused: refusal.Error()}, nil
	}
	if err != nil {
		return sizeFigures{}, fmt.Errorf("injecting %s: %w", name, err)
	}
	patch, err := result.JSONPatch(pod)
	if err != nil {
		return sizeFigures{}, err
	}
	f := sizeFigures{
		Pod:           name,
		Bootstrap:     len(result.Pod.Annotations[intent.AnnotationBootstrap]),
		Listeners:     len(result.Pod.Annotations[intent.AnnotationListeners]),
		Clusters:      len(result.Pod.Annotations[intent.AnnotationClusters]),
		Authorization: len(result.Pod.Annotations[intent.AnnotationAuthorization]),
		Status:        len(result.Pod.Annotations[intent.AnnotationStatus]),
		Patch:         len(patch),
	}
	f.Annotations = f.Bootstrap + f.Listeners + f.Clusters + f.Authorization + f.Status
	return f, nil
}
