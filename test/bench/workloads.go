package main

import (
	"encoding/json"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// workloads are the demo's API and its valid client, with identities of their own in any namespace.
type workloads struct {
	namespace string
	image     string
	allowed   string // the API's allowed peers; the client alone if empty
	every     string // how often the client calls
}

// apiID and clientID are paths that a namespace may use without a claim.
func (w workloads) apiID() string    { return "/ns/" + w.namespace + "/api" }
func (w workloads) clientID() string { return "/ns/" + w.namespace + "/client" }

// manifest is what a user would apply, as JSON.
func (w workloads) manifest() (string, error) {
	allowed := w.allowed
	if allowed == "" {
		allowed = w.clientID()
	}
	upstreams := fmt.Sprintf(`[{"listen": 8000, "address": "api.%s.svc:8443", "peers": [%q]}]`, w.namespace, w.apiID())
	objects := []runtime.Object{
		w.deployment("api", []string{"api", "--listen", "127.0.0.1:8080"}, map[string]string{
			intent.AnnotationSPIFFEID:     w.apiID(),
			intent.AnnotationAppPort:      "8080",
			intent.AnnotationAllowedPeers: allowed,
		}),
		&corev1.Service{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: w.namespace},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "api"}, Ports: []corev1.ServicePort{{Port: 8443}}},
		},
		w.deployment("client", []string{"client", "--url", "http://127.0.0.1:8000/api", "--every", w.every}, map[string]string{
			intent.AnnotationSPIFFEID:  w.clientID(),
			intent.AnnotationUpstreams: upstreams,
		}),
	}
	list := metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}}
	for _, o := range objects {
		list.Items = append(list.Items, runtime.RawExtension{Object: o})
	}
	data, err := json.Marshal(list)
	return string(data), err
}

func (w workloads) deployment(name string, args []string, annotations map[string]string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	injected := maps.Clone(labels)
	injected[intent.LabelInject] = intent.InjectEnabled
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: injected, Annotations: annotations},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: name, Image: w.image, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
				}}},
			},
		},
	}
}
