package e2e

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sample is the sample program's image.
const sample = "spire-injector/sample:dev"

// workload is a Deployment of the sample program.
type workload struct {
	name        string
	annotations map[string]string // nil: not labelled
	args        []string
}

// id is the path of a workload's identity in a test's namespace.
func id(namespace, name string) string { return "/ns/" + namespace + "/" + name }

// api serves /api for some peers.
func api(namespace string, peers string) workload {
	return workload{name: "api", args: []string{"api", "--listen", "127.0.0.1:8080"}, annotations: map[string]string{
		"spiffe.io/spiffe-id":     id(namespace, "api"),
		"spiffe.io/app-port":      "8080",
		"spiffe.io/allowed-peers": peers,
		"spiffe.io/x509-svid-ttl": "30s",
	}}
}

// client calls the API of its namespace by 127.0.0.1:8000.
func client(namespace, name string) workload {
	return workload{name: name, args: []string{"client", "--url", "http://127.0.0.1:8000/api", "--every", "10s"}, annotations: map[string]string{
		"spiffe.io/spiffe-id":     id(namespace, name),
		"spiffe.io/upstreams":     fmt.Sprintf(`[{listen: 8000, address: "api.%s.svc:8443", peers: [%s]}]`, namespace, id(namespace, "api")),
		"spiffe.io/x509-svid-ttl": "30s",
	}}
}

func (w workload) labels() map[string]string {
	labels := map[string]string{"app": w.name}
	if w.annotations != nil {
		labels["spiffe.io/inject"] = "enabled"
	}
	return labels
}

func (w workload) podSpec() corev1.PodSpec {
	grace := int64(1)
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{{Name: "app", Image: sample, ImagePullPolicy: corev1.PullIfNotPresent, Args: w.args}},
	}
}

func (w workload) pod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: namespace, Labels: w.labels(), Annotations: w.annotations},
		Spec:       w.podSpec(),
	}
}

func (w workload) deployment(namespace string) *appsv1.Deployment {
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: namespace},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.name}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels(), Annotations: w.annotations}, Spec: w.podSpec()},
		},
	}
}

func (w workload) service(namespace string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: namespace},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": w.name}, Ports: []corev1.ServicePort{{Port: 8443}}},
	}
}

// deploy starts an API with its Service and some clients, and waits until they are ready.
func deploy(t *testing.T, namespace string, server workload, clients ...workload) {
	t.Helper()
	objects := []any{server.service(namespace), server.deployment(namespace)}
	names := []string{"deployment/" + server.name}
	for _, c := range clients {
		objects = append(objects, c.deployment(namespace))
		names = append(names, "deployment/"+c.name)
	}
	apply(t, objects...)
	rollout(t, namespace, names...)
}
