package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/images"
)

// workload is a Deployment whose app is a program of the tests' own image: /podtool or /sample.
type workload struct {
	name        string
	annotations map[string]string // nil: not labelled
	command     []string
	replicas    int32                 // 0: one
	ports       []int32               // of its Services; none: 8443
	edit        func(*corev1.PodSpec) // what else its pods have
}

// item is an element of an annotation's list. JSON is YAML too.
type item map[string]any

func list(items ...item) string {
	data, err := json.Marshal(items)
	if err != nil {
		panic(err) // only what a test wrote itself
	}
	return string(data)
}

// upstream is an item of a client's list: a port of another app's Service.
func upstream(namespace, app string, listen, port int, protocol string) item {
	return item{
		"listen": listen, "protocol": protocol,
		"address": fmt.Sprintf("%s.%s.svc:%d", app, namespace, port), "peers": []string{id(namespace, app)},
	}
}

// identified are the annotations of an identity in a test's namespace, and others.
func identified(namespace, name string, others map[string]string) map[string]string {
	all := map[string]string{"spiffe.io/spiffe-id": id(namespace, name)}
	maps.Copy(all, others)
	return all
}

// polyglot serves HTTP at 8443, gRPC at 8444 and TCP at 8445, all with mTLS for one peer. Its app listens on 127.0.0.1
// alone.
func polyglot(namespace, name, peer string, flags ...string) workload {
	return workload{
		name:    name,
		command: append([]string{"/podtool", "api", "--listen", "127.0.0.1:8080", "--grpc", "127.0.0.1:9090", "--tcp", "127.0.0.1:7070"}, flags...),
		ports:   []int32{8443, 8444, 8445},
		annotations: identified(namespace, name, map[string]string{
			"spiffe.io/allowed-peers": peer,
			"spiffe.io/inbound": list(
				item{"listen": 8443, "app": 8080},
				item{"listen": 8444, "app": 9090, "protocol": "grpc"},
				item{"listen": 8445, "app": 7070, "protocol": "tcp"},
			),
		}),
	}
}

// id is the path of a workload's identity in a test's namespace.
func id(namespace, name string) string { return "/ns/" + namespace + "/" + name }

// api serves /api for some peers.
func api(namespace string, peers string) workload {
	return workload{name: "api", command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}, annotations: map[string]string{
		"spiffe.io/spiffe-id":     id(namespace, "api"),
		"spiffe.io/app-port":      "8080",
		"spiffe.io/allowed-peers": peers,
		"spiffe.io/x509-svid-ttl": "30s",
	}}
}

// client calls the API of its namespace by 127.0.0.1:8000.
func client(namespace, name string) workload {
	return workload{name: name, command: []string{"/sample", "client", "--url", "http://127.0.0.1:8000/api", "--every", "10s"}, annotations: map[string]string{
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
	spec := corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{container("app", w.command...)},
	}
	if w.edit != nil {
		w.edit(&spec)
	}
	return spec
}

// container runs a program of the tests' own image.
func container(name string, command ...string) corev1.Container {
	return corev1.Container{Name: name, Image: images.PodTool, ImagePullPolicy: corev1.PullIfNotPresent, Command: command}
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
			Replicas: new(max(w.replicas, 1)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.name}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels(), Annotations: w.annotations}, Spec: w.podSpec()},
		},
	}
}

func (w workload) service(namespace string) *corev1.Service {
	ports := w.ports
	if len(ports) == 0 {
		ports = []int32{8443}
	}
	service := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: namespace},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": w.name}},
	}
	for _, port := range ports {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("p-%d", port), Port: port})
	}
	return service
}

// headless is a Service whose name stands for the addresses of the ready pods, NAME-headless.
func (w workload) headless(namespace string) *corev1.Service {
	service := w.service(namespace)
	service.Name += "-headless"
	service.Spec.ClusterIP = corev1.ClusterIPNone
	return service
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

// k runs kubectl in a test's namespace.
func k(t *testing.T, namespace string, args ...string) string {
	t.Helper()
	out, err := shared.k.Run(t.Context(), append([]string{"--namespace", namespace}, args...)...)
	must(t, err)
	return out
}

// podsOf are the pods of an app, those that are ending included; of all apps, if none is named.
func podsOf(t *testing.T, namespace, app string) []corev1.Pod {
	t.Helper()
	args := []string{"pods", "--namespace", namespace}
	if app != "" {
		args = append(args, "--selector", "app="+app)
	}
	var pods corev1.PodList
	must(t, shared.k.Get(t.Context(), &pods, args...))
	return pods.Items
}

func podNames(t *testing.T, namespace, app string) []string {
	t.Helper()
	var names []string
	for _, pod := range podsOf(t, namespace, app) {
		names = append(names, pod.Name)
	}
	return names
}

func awaitPodsGone(t *testing.T, namespace string, pods []string) {
	t.Helper()
	eventually(t, "the end of the old pods", func() error {
		for _, name := range podNames(t, namespace, "") {
			if slices.Contains(pods, name) {
				return fmt.Errorf("%s is still there", name)
			}
		}
		return nil
	})
}
