package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// asItIs is an app as most are, of which only labels and annotations know Envoy: it listens on all addresses, the kubelet
// probes it, and nobody mentions one of its ports. Its Service has a port of its own.
func asItIs(namespace, peer string) (workload, *corev1.Service) {
	w := workload{
		name:    "api",
		command: []string{"/podtool", "api", "--listen", ":8080", "--tcp", ":7070", "--grpc", ":9090"},
		annotations: identified(namespace, "api", map[string]string{
			"spiffe.io/capture":       "inbound",
			"spiffe.io/allowed-peers": peer,
			"spiffe.io/inbound":       list(item{"app": 7070, "protocol": "tcp", "tls": "permissive"}),
		}),
		edit: func(spec *corev1.PodSpec) {
			app := &spec.Containers[0]
			app.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}, {ContainerPort: 7070}}
			app.StartupProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
				TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(7070)},
			}}
			app.LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2, ProbeHandler: corev1.ProbeHandler{
				GRPC: &corev1.GRPCAction{Port: 9090, Service: new("liveness")},
			}}
			app.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: "/healthz/readiness", Port: intstr.FromString("web")},
			}}
		},
	}
	return w, &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: namespace},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "api"},
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromString("web")}, {Name: "lines", Port: 7070},
			},
		},
	}
}

// TestCapturedApp: an app and its Service stay as they are, and whoever calls from outside comes to Envoy.
func TestCapturedApp(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	w, service := asItIs(ns, id(ns, "valid"))
	caller, other := client(ns, "valid"), client(ns, "invalid")
	for _, c := range []*workload{&caller, &other} {
		c.annotations["spiffe.io/upstreams"] = list(upstream(ns, "api", 8000, 80, "http"), upstream(ns, "api", 8001, 7070, "tcp"))
	}
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	apply(t, service, w.deployment(ns), caller.deployment(ns), other.deployment(ns), outsider.deployment(ns))
	rollout(t, ns, "deployment/api", "deployment/valid", "deployment/invalid", "deployment/outsider")
	pod := onlyPod(t, ns, "api")
	host := "api." + ns + ".svc"

	t.Run("peers call by the same Service, and nobody else", func(t *testing.T) {
		if got := echo(t, ns, "deployment/valid", "http://127.0.0.1:8000/echo"); !strings.Contains(got.caller(), id(ns, "valid")) {
			t.Errorf("expected the caller's identity, got %+v", got)
		}
		if out, err := in(t, ns, "deployment/invalid", "/sample", "get", url); err == nil || !strings.HasPrefix(out, "upstream connect error") {
			t.Errorf("expected that a caller with another identity is refused, got %q (%v)", out, err)
		}
		for _, address := range []string{host + ":80", pod.Status.PodIP + ":8080"} {
			if out := dial(t, ns, address, "/echo"); strings.Contains(out, "answered") {
				t.Errorf("%s, in plain text: expected no answer, got %s", address, out)
			}
		}
		from := onlyPod(t, ns, "outsider").Status.PodIP + ":"
		awaitLog(t, ns, "deployment/api", "plain text of "+from, func(l logLine) bool {
			return l.Event == "handshake_refused" && strings.HasPrefix(l.Remote, from)
		})
	})
	t.Run("a permissive port takes both", func(t *testing.T) {
		for workload, address := range map[string]string{"outsider": host + ":7070", "valid": "127.0.0.1:8001"} {
			if report := traffics(t, ns, "deployment/"+workload, "tcp://"+address); report.Failed != 0 {
				t.Errorf("%s: expected answers over TCP, got %+v", workload, report)
			}
		}
	})
	t.Run("other ports are closed, and those for the kubelet are not", func(t *testing.T) {
		if out := dial(t, ns, pod.Status.PodIP+":9090", "/"); !strings.Contains(out, "connection refused") {
			t.Errorf("a port that the app did not declare: got %s", out)
		}
		for _, port := range []string{"15021", "15025"} {
			if out := dial(t, ns, pod.Status.PodIP+":"+port, "/ready"); !strings.Contains(out, "answered: 200") {
				t.Errorf("port %s: got %s", port, out)
			}
		}
		readyAfterListening(t, pod)
		time.Sleep(3 * time.Second) // for the probe that fails twice at most
		for name, status := range statuses(onlyPod(t, ns, "api")) {
			if status.RestartCount != 0 || !status.Ready {
				t.Errorf("container %s: got %+v", name, status)
			}
		}
		capture := statuses(pod)["spiffe-capture"].State.Terminated
		t.Logf("the rules took from %s to %s, and Envoy started at %s", capture.StartedAt, capture.FinishedAt,
			statuses(pod)["envoy"].State.Running.StartedAt)
	})
	t.Run("from inside nothing has changed", func(t *testing.T) {
		if out, err := in(t, ns, "deployment/api", "/sample", "dial", "127.0.0.1:15025", "--plain"); !strings.Contains(out, "connection refused") {
			t.Errorf("the port that exists by the rules alone: got %s (%v)", out, err)
		}
		for _, address := range []string{"127.0.0.1:8080", pod.Status.PodIP + ":8080", "127.0.0.1:9090"} {
			if out, err := in(t, ns, "deployment/api", "/sample", "dial", address, "--plain", "--path", "/echo"); strings.Contains(out, "connection refused") {
				t.Errorf("%s: got %s (%v)", address, out, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/echo", forwardTo(t, ns, "pod/"+pod.Name, 8080)), nil)
		must(t, err)
		answer, err := http.DefaultClient.Do(request)
		must(t, err)
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("by port-forward: expected 200, got %s", answer.Status)
		}
	})
}
