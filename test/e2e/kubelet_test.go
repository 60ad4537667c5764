package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/test/command"
)

const (
	// proxyMemory is the limit of Envoy's container in [placed], in bytes.
	proxyMemory = 256 << 20
	// unreadAnswers would take more than twice as much.
	unreadAnswers = 3000
)

// placed is a pod of three apps, each on an address of its own: 127.0.0.1, the pod's and ::1. Envoy takes their callers on
// a port below 1024 and on others, one of them public.
func placed(namespace, peer string) workload {
	w := workload{
		name:    "placed",
		command: []string{"/podtool", "api", "--name", "local", "--listen", "127.0.0.1:8080"},
		ports:   []int32{443, 8444, 8445},
		annotations: identified(namespace, "placed", map[string]string{
			"spiffe.io/allowed-peers": peer,
			"spiffe.io/inbound": list(
				item{"listen": 443, "app": 8080},
				item{"listen": 8444, "app": "podIP:8081"},
				item{"listen": 8445, "app": "[::1]:8082"},
				item{"listen": 8446, "app": 8080, "tls": "none"},
			),
			"spiffe.io/proxy-resources": fmt.Sprintf("{limits: {memory: %d}}", proxyMemory),
		}),
	}
	hook := func(path string, port intstr.IntOrString) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: port}}
	}
	w.edit = func(spec *corev1.PodSpec) {
		spec.TerminationGracePeriodSeconds = new(int64(30))
		local := &spec.Containers[0]
		local.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}
		local.Lifecycle = &corev1.Lifecycle{PreStop: hook("/log/stop?of=local", intstr.FromString("web"))}
		pod := container("pod", "/podtool", "api", "--name", "pod", "--listen", "$(POD_IP):8081")
		pod.Env = []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
		}}}
		pod.Lifecycle = &corev1.Lifecycle{PreStop: hook("/log/stop?of=pod", intstr.FromInt32(8081))}
		six := container("six", "/podtool", "api", "--name", "six", "--listen", "[::1]:8082")
		six.Lifecycle = &corev1.Lifecycle{
			PostStart: hook("/log/start?of=six", intstr.FromInt32(8080)), // of the first container, which runs by then
			PreStop:   hook("/log/stop?of=six", intstr.FromInt32(8082)),
		}
		spec.Containers = append(spec.Containers, pod, six)
	}
	return w
}

// TestAppsWhereTheyListen: a real kubelet starts and ends a pod whose apps listen on three addresses, gives it the sysctl
// by which Envoy binds a port below 1024, and holds Envoy to the memory limit that Envoy itself knows.
func TestAppsWhereTheyListen(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	caller := client(ns, "valid")
	caller.annotations["spiffe.io/upstreams"] = list(
		upstream(ns, "placed", 8000, 443, "http"), upstream(ns, "placed", 8001, 8444, "http"), upstream(ns, "placed", 8002, 8445, "http"),
	)
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	w := placed(ns, id(ns, "valid"))
	apply(t, w.service(ns), w.pod(ns), caller.deployment(ns), outsider.deployment(ns))
	k(t, ns, "wait", "pod/placed", "--for=condition=Ready", "--timeout", patience.String())
	rollout(t, ns, "deployment/valid", "deployment/outsider")
	pod := onlyPod(t, ns, "placed")

	t.Run("callers reach each, one by a port below 1024", func(t *testing.T) {
		for port, app := range map[int]string{8000: "local", 8001: "pod", 8002: "six"} {
			got := echo(t, ns, "deployment/valid", fmt.Sprintf("http://127.0.0.1:%d/echo", port))
			if got.Pod != app || !strings.Contains(got.caller(), id(ns, "valid")) {
				t.Errorf("port %d: expected an answer of %s to the caller, got %+v", port, app, got)
			}
		}
		for _, port := range []int{8080, 8082} { // the address of the pod is open to all, as without Envoy
			if out := dial(t, ns, fmt.Sprintf("%s:%d", pod.Status.PodIP, port), "/echo"); !strings.Contains(out, "connection refused") {
				t.Errorf("port %d of an app on loopback: expected no connection, got %s", port, out)
			}
		}
	})
	t.Run("Envoy knows its memory limit and keeps it in a flood", func(t *testing.T) {
		if got, want := heapLimit(t, ns, "pod/placed"), uint64(proxyMemory/4*3); got != want {
			t.Errorf("expected three quarters of %d bytes for Envoy's heap, %d, got %d", proxyMemory, want, got)
		}
		out, err := in(t, ns, "deployment/outsider", "/podtool", "unread", fmt.Sprintf("http://%s:8446/endless", pod.Status.PodIP),
			"--requests", fmt.Sprint(unreadAnswers), "--batch", "50",
			// The thread that answers is the one that looks at the memory.
			"--after", fmt.Sprintf("http://%s:15021/updates", pod.Status.PodIP))
		must(t, err)
		t.Logf("the flood: %s", out)
		stats := adminPage(t, ns, "pod/placed", "/stats?filter=overload_actions.reset_high_memory_stream.count")
		if _, resets, found := strings.Cut(stats, ": "); !found || resets == "0\n" {
			t.Errorf("the flood did not reach the limit: expected streams that were reset, got %q", stats)
		}
		echo(t, ns, "deployment/valid", "http://127.0.0.1:8000/echo")
		for name, status := range statuses(onlyPod(t, ns, "placed")) {
			if status.RestartCount != 0 {
				t.Errorf("container %s: expected it never to end, got %+v", name, status)
			}
		}
	})
	t.Run("hooks reach apps that the kubelet cannot", func(t *testing.T) {
		log := shared.k.Command(t.Context(), "--namespace", ns, "logs", "--follow", "--all-containers", "pod/placed")
		var lines command.Output
		log.Stdout = &lines
		must(t, log.Start())
		eventually(t, "what has been logged so far", func() error {
			if !strings.Contains(lines.String(), "/log/start") {
				return errors.New("the first hook is not there")
			}
			return nil
		})
		k(t, ns, "delete", "pod", "placed", "--wait=false")
		must(t, log.Wait()) // until all containers have ended
		asked := map[string]string{}
		for text := range strings.Lines(lines.String()) {
			var line struct{ Msg, URI, Host string }
			if json.Unmarshal([]byte(text), &line) == nil && line.Msg == "asked" {
				asked[line.URI] = line.Host
			}
		}
		for uri, port := range map[string]int{
			"/log/start?of=six": 8080, "/log/stop?of=local": 8080, "/log/stop?of=pod": 8081, "/log/stop?of=six": 8082,
		} {
			if want := fmt.Sprintf("%s:%d", pod.Status.PodIP, port); asked[uri] != want {
				t.Errorf("%s: expected the request of a kubelet, with the Host %s, got %q", uri, want, asked[uri])
			}
		}
		if events := k(t, ns, "get", "events", "--field-selector", "involvedObject.name=placed", "-o", "custom-columns=REASON:.reason"); strings.Contains(events, "Hook") {
			t.Errorf("expected no hook to fail, got %s", events)
		}
	})
}

// adminPage is what Envoy's admin interface answers, which the containers of its pod reach.
func adminPage(t *testing.T, namespace, workload, path string) string {
	t.Helper()
	out, err := in(t, namespace, workload, "/sample", "get", "http://127.0.0.1:15000"+path)
	must(t, err)
	return out
}

// heapLimit is how many bytes of heap a sidecar takes for all that it may have.
func heapLimit(t *testing.T, namespace, workload string) uint64 {
	t.Helper()
	var dump struct {
		Configs []struct {
			Bootstrap struct {
				OverloadManager struct {
					ResourceMonitors []struct {
						TypedConfig struct {
							MaxHeapSizeBytes uint64 `json:"max_heap_size_bytes,string"`
						} `json:"typed_config"`
					} `json:"resource_monitors"`
				} `json:"overload_manager"`
			} `json:"bootstrap"`
		} `json:"configs"`
	}
	must(t, json.Unmarshal([]byte(adminPage(t, namespace, workload, "/config_dump?mask=bootstrap")), &dump))
	for _, config := range dump.Configs {
		for _, monitor := range config.Bootstrap.OverloadManager.ResourceMonitors {
			return monitor.TypedConfig.MaxHeapSizeBytes
		}
	}
	must(t, errors.New("Envoy's bootstrap has no monitor of its heap"))
	return 0
}
