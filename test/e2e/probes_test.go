package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The apps of these tests listen on 127.0.0.1 alone, where the kubelet cannot ask them.

// probed has two containers that together have a probe of every kind and protocol. The first is an API on all four
// protocols, the second one on two.
func probed(namespace string) workload {
	w := workload{
		name: "probed",
		command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080", "--https", "127.0.0.1:8443", "--grpc", "127.0.0.1:9090", "--tcp", "127.0.0.1:7070",
			"--probe-header", "X-Probe: a, b", "--start-delay", "4s"},
		annotations: identified(namespace, "probed", map[string]string{
			"spiffe.io/inbound": list(item{"listen": 10443, "app": 8080}), "spiffe.io/allowed-peers": id(namespace, "nobody"),
		}),
	}
	probe := func(h corev1.ProbeHandler) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: h, PeriodSeconds: 1, FailureThreshold: 3}
	}
	headers := []corev1.HTTPHeader{{Name: "X-Probe", Value: "a, b"}, {Name: "Host", Value: "app.example.org"}}
	w.edit = func(spec *corev1.PodSpec) {
		app := &spec.Containers[0]
		app.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}, {Name: "lines", ContainerPort: 7070}}
		app.StartupProbe = probe(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("lines")}})
		app.StartupProbe.FailureThreshold = 60
		app.LivenessProbe = probe(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/healthz/liveness?a=b%20c", Port: intstr.FromString("web"), HTTPHeaders: headers,
		}})
		app.ReadinessProbe = probe(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "healthz/readiness", Port: intstr.FromInt32(8443), Scheme: corev1.URISchemeHTTPS, HTTPHeaders: headers,
		}})
		second := container("second", "/podtool", "api", "--name", "second", "--listen", "127.0.0.1:8081", "--grpc", "127.0.0.1:9091")
		command := []string{"/sample", "get", "http://127.0.0.1:8081/healthz/startup"}
		second.StartupProbe = probe(corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}})
		second.StartupProbe.FailureThreshold, second.StartupProbe.TimeoutSeconds = 60, 5
		second.LivenessProbe = probe(corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9091, Service: new("liveness")}})
		second.ReadinessProbe = probe(corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9091, Service: new("readiness")}})
		spec.Containers = append(spec.Containers, second)
	}
	return w
}

func TestProbes(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	w := probed(ns)
	deaf := workload{name: "deaf", command: []string{"/podtool", "api"}, annotations: identified(ns, "deaf", map[string]string{
		"spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": id(ns, "nobody"),
	}), edit: func(spec *corev1.PodSpec) {
		spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2,
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(7070)}}}
	}}
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	apply(t, w.deployment(ns), deaf.deployment(ns), outsider.deployment(ns))
	rollout(t, ns, "deployment/probed", "deployment/outsider")

	t.Run("they succeed as long as the app says so", func(t *testing.T) {
		for name, status := range statuses(onlyPod(t, ns, "probed")) {
			if !status.Ready || status.RestartCount != 0 {
				t.Errorf("container %s: expected it ready without a restart, got %+v", name, status)
			}
		}
		readyAfterListening(t, onlyPod(t, ns, "probed"))
	})
	t.Run("they ask what the user wrote", func(t *testing.T) {
		var asked, second map[string]kindHealth
		eventually(t, "a probe of each kind", func() error {
			asked, second = health(t, ns, "app", "8080"), health(t, ns, "second", "8081")
			if asked["liveness"].Asked*asked["readiness"].Asked*second["startup"].Asked*second["liveness"].Asked*second["readiness"].Asked == 0 {
				return fmt.Errorf("not all were asked: %+v, %+v", asked, second)
			}
			return nil
		})
		for kind, want := range map[string]request{
			"liveness":  {URI: "/healthz/liveness?a=b%20c", Host: "app.example.org"},
			"readiness": {URI: "/healthz/readiness", Host: "app.example.org", TLS: true},
		} {
			got := asked[kind]
			if got.Refused != 0 || got.Last.URI != want.URI || got.Last.Host != want.Host || got.Last.TLS != want.TLS ||
				fmt.Sprint(got.Last.Headers["X-Probe"]) != "[a, b]" || !strings.HasPrefix(fmt.Sprint(got.Last.Headers["User-Agent"]), "[kube-probe/") {
				t.Errorf("%s: expected %+v with its headers, got %+v", kind, want, got)
			}
		}
	})
	t.Run("nothing else of the app is reached, and no probe is logged", func(t *testing.T) {
		pod := onlyPod(t, ns, "probed")
		for path, want := range map[string]string{
			"/probe/second/liveness": "404", "/probe/app/other": "404", "/probe/app/liveness/x": "404",
			"/api": "404", "/healthz/liveness": "404", "/": "404",
			"/probe/app/startup":  "200",
			"/probe/app/liveness": "400", // the app's own answer: the header is missing
		} {
			if out := dial(t, ns, pod.Status.PodIP+":15022", path); !strings.Contains(out, "answered: "+want) {
				t.Errorf("%s: expected %s, got %s", path, want, out)
			}
		}
		for _, port := range []string{"8080", "8443", "9090", "7070", "8081", "9091"} {
			if out := dial(t, ns, pod.Status.PodIP+":"+port, "/api"); !strings.Contains(out, "connection refused") {
				t.Errorf("port %s of the app: expected no connection, got %s", port, out)
			}
		}
		report := traffics(t, ns, "deployment/outsider", "grpc://"+pod.Status.PodIP+":15030")
		if report.Failed != report.Total || !strings.Contains(fmt.Sprintf("%s", report.FirstFailures), "Unimplemented") {
			t.Errorf("another method on the port of gRPC probes: expected it not to be implemented, got %+v", report)
		}
		if lines := envoyLog(t, ns, "pod/"+pod.Name); len(lines) != 0 {
			t.Errorf("expected no line in the access log, got %+v", lines)
		}
	})
	t.Run("readiness off, and on", func(t *testing.T) {
		for container, port := range map[string]string{"app": "8080", "second": "8081"} {
			for _, value := range []string{"off", "on"} {
				turn(t, ns, container, port, "readiness", value)
				eventually(t, container+", readiness "+value, func() error {
					if status := statuses(onlyPod(t, ns, "probed"))[container]; status.Ready != (value == "on") || status.RestartCount != 0 {
						return fmt.Errorf("%+v", status)
					}
					return nil
				})
			}
		}
	})
	t.Run("the running pod takes other peers", func(t *testing.T) {
		k(t, ns, "annotate", "pod", onlyPod(t, ns, "probed").Name, "--overwrite", "spiffe.io/allowed-peers="+id(ns, "somebody"))
	})
	t.Run("a failing liveness restarts that container alone", func(t *testing.T) {
		for container, port := range map[string]string{"app": "8080", "second": "8081"} {
			turn(t, ns, container, port, "liveness", "off")
		}
		for _, container := range []string{"app", "second"} {
			eventually(t, container+": a restart", func() error {
				if status := statuses(onlyPod(t, ns, "probed"))[container]; status.RestartCount != 1 || !status.Ready {
					return fmt.Errorf("%+v", status)
				}
				return nil
			})
		}
		if envoy := statuses(onlyPod(t, ns, "probed"))["envoy"]; envoy.RestartCount != 0 {
			t.Errorf("Envoy was restarted: %+v", envoy)
		}
	})
	t.Run("a TCP port where nobody listens fails", func(t *testing.T) {
		eventually(t, "a restart", func() error {
			if statuses(onlyPod(t, ns, "deaf"))["app"].RestartCount == 0 {
				return errors.New("the app was not restarted")
			}
			return nil
		})
	})
}

// onlyPod returns the only pod of an app.
func onlyPod(t *testing.T, namespace, app string) corev1.Pod {
	t.Helper()
	pods := podsOf(t, namespace, app)
	if len(pods) != 1 {
		t.Fatalf("expected one pod of app %s, got %d", app, len(pods))
	}
	return pods[0]
}

// statuses are those of a pod's containers, by name.
func statuses(pod corev1.Pod) map[string]corev1.ContainerStatus {
	all := map[string]corev1.ContainerStatus{}
	for _, status := range pod.Status.InitContainerStatuses {
		all[status.Name] = status
	}
	for _, status := range pod.Status.ContainerStatuses {
		all[status.Name] = status
	}
	return all
}

// request is what `podtool api` reports of one.
type request struct {
	Pod      string              `json:"pod"`
	URI      string              `json:"uri"`
	Protocol string              `json:"protocol"`
	Host     string              `json:"host"`
	TLS      bool                `json:"tls"`
	Headers  map[string][]string `json:"headers"`
}

// kindHealth is what `podtool api` reports of a kind of probe.
type kindHealth struct {
	Asked   int     `json:"asked"`
	Refused int     `json:"refused"`
	Last    request `json:"last"`
}

// health asks a container of the pod probed about its probes.
func health(t *testing.T, namespace, container, port string) map[string]kindHealth {
	t.Helper()
	out := k(t, namespace, "exec", "deployment/probed", "--container", container, "--", "/sample", "get", "http://127.0.0.1:"+port+"/healthz")
	var told map[string]kindHealth
	must(t, json.Unmarshal([]byte(out), &told))
	return told
}

// turn switches the answers to a kind of probe.
func turn(t *testing.T, namespace, container, port, kind, value string) {
	t.Helper()
	k(t, namespace, "exec", "deployment/probed", "--container", container, "--",
		"/podtool", "health", kind, value, "--address", "127.0.0.1:"+port)
}
