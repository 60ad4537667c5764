package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// gateway is a pod that is only an Envoy: public on port 10080, and on port 8443 for one peer.
func gateway(namespace, peer string, routes ...item) workload {
	return workload{
		name:  "gateway",
		ports: []int32{10080, 8443},
		annotations: identified(namespace, "gateway", map[string]string{
			"spiffe.io/mode":      "gateway",
			"spiffe.io/inbound":   list(item{"listen": 10080, "tls": "none"}, item{"listen": 8443, "peers": []string{peer}}),
			"spiffe.io/upstreams": list(routes...),
		}),
		edit: func(spec *corev1.PodSpec) { spec.Containers = []corev1.Container{{Name: "envoy", Image: "auto"}} },
	}
}

// route is an item of a gateway's list.
func route(namespace, match, app string) item {
	return item{"match": match, "address": fmt.Sprintf("%s.%s.svc:8443", app, namespace), "peers": []string{id(namespace, app)}}
}

func TestGateway(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	objects := []any{}
	names := []string{}
	for _, name := range []string{"one", "two"} {
		w := api(ns, id(ns, "gateway"))
		w.name, w.annotations["spiffe.io/spiffe-id"] = name, id(ns, name)
		objects = append(objects, w.service(ns), w.deployment(ns))
		names = append(names, "deployment/"+name)
	}
	edge := gateway(ns, id(ns, "valid"), route(ns, "/echo/one", "one"), route(ns, "/echo/two", "two"), route(ns, "app.example.org/", "two"))
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	inside := client(ns, "valid")
	inside.annotations["spiffe.io/upstreams"] = list(upstream(ns, "gateway", 8000, 8443, "http"))
	objects = append(objects, edge.service(ns), edge.deployment(ns), outsider.deployment(ns), inside.deployment(ns))
	apply(t, objects...)
	rollout(t, ns, append(names, "deployment/gateway", "deployment/outsider", "deployment/valid")...)
	public := "http://gateway." + ns + ".svc:10080"

	t.Run("the public listener routes by path and host", func(t *testing.T) {
		for _, test := range []struct{ path, host, app string }{
			{"/echo/one", "", "one"}, {"/echo/one/x?y=z", "", "one"}, {"/echo/two", "", "two"}, {"/echo", "app.example.org", "two"},
			{"/echo/one/../two", "", "two"}, // as every app behind it would read it
		} {
			got := echo(t, ns, "deployment/outsider", public+test.path, "--header", "Host: "+test.host, "--header", forged)
			if !strings.HasPrefix(got.Pod, test.app+"-") {
				t.Errorf("%+v was answered by %q", test, got.Pod)
			}
			if !strings.Contains(got.caller(), "URI=spiffe://example.org"+id(ns, "gateway")) || strings.Contains(got.caller(), "forged") {
				t.Errorf("%+v: expected the gateway as the caller, got %q", test, got.caller())
			}
		}
		for _, path := range []string{"/echo/ones", "/echo", "/api"} {
			if out := dial(t, ns, "gateway."+ns+".svc:10080", path); !strings.Contains(out, "answered: 404") {
				t.Errorf("%s: expected 404, got %s", path, out)
			}
		}
	})
	t.Run("the other one wants an identity", func(t *testing.T) {
		if got := echo(t, ns, "deployment/valid", "http://127.0.0.1:8000/echo/one"); !strings.HasPrefix(got.Pod, "one-") {
			t.Errorf("expected an answer of one, got %+v", got)
		}
		out, err := in(t, ns, "deployment/outsider", "/sample", "dial", "gateway."+ns+".svc:8443", "--tls", "--path", "/echo/one")
		if err == nil || !strings.Contains(out, "certificate required") {
			t.Errorf(`expected "certificate required", got %q (%v)`, out, err)
		}
	})
	t.Run("the pod is only an Envoy", func(t *testing.T) {
		pod := onlyPod(t, ns, "gateway")
		if len(pod.Spec.InitContainers) != 0 || len(pod.Spec.Containers) != 1 || scene.Restarts(pod) != 0 {
			t.Errorf("expected one container, got %+v and %+v", pod.Spec.InitContainers, pod.Spec.Containers)
		}
	})
}

// forged is a header by which a caller says to be somebody else.
const forged = "X-Forwarded-Client-Cert: URI=spiffe://example.org/forged"

// caller is what the app is told of who called.
func (r request) caller() string { return strings.Join(r.Headers["X-Forwarded-Client-Cert"], ";") }

// dial calls a port from the app outsider, which has no identity, in plain text, and returns what became of it.
func dial(t *testing.T, namespace, address, path string) string {
	t.Helper()
	out, err := in(t, namespace, "deployment/outsider", "/sample", "dial", address, "--plain", "--path", path)
	if out == "" {
		t.Errorf("%s%s: %v", address, path, err)
	}
	return out
}

// echo asks `podtool api`, from a workload's app, what arrives there.
func echo(t *testing.T, namespace, workload, url string, flags ...string) request {
	t.Helper()
	var got request
	eventually(t, url, func() error { // a caller may come before the answer of DNS that has the new pod
		out, err := in(t, namespace, workload, append([]string{"/sample", "get", url}, flags...)...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return json.Unmarshal([]byte(out), &got)
	})
	return got
}

// In socket mode the app itself is the workload; with a sidecar both are.
func TestSocketModes(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	socket := workload{
		name: "socket", command: []string{"/podtool", "api"},
		annotations: identified(ns, "socket", map[string]string{"spiffe.io/mode": "socket"}),
		edit: func(spec *corev1.PodSpec) {
			spec.Containers = append(spec.Containers, container("second", "/podtool", "api", "--listen", "127.0.0.1:8081"))
		},
	}
	both := client(ns, "both")
	both.annotations["spiffe.io/mode"] = "sidecar,socket"
	deploy(t, ns, api(ns, id(ns, "both")), socket, both)

	for workload, containers := range map[string][]string{"socket": {"app", "second"}, "both": {"app"}} {
		for _, c := range containers {
			eventually(t, workload+", container "+c+": its SVID", func() error { // an app without Envoy is not waited for
				out, err := shared.k.Run(t.Context(), "--namespace", ns, "exec", "deployment/"+workload, "--container", c, "--",
					"/sample", "svid", "-o", "json")
				if err != nil {
					return err
				}
				var svids []struct {
					ID string `json:"id"`
				}
				must(t, json.Unmarshal([]byte(out), &svids))
				if len(svids) != 1 || svids[0].ID != "spiffe://example.org"+id(ns, workload) {
					t.Fatalf("%s, container %s: expected one SVID of it, got %+v", workload, c, svids)
				}
				return nil
			})
		}
	}
	if pod := onlyPod(t, ns, "socket"); len(pod.Spec.InitContainers) != 0 || len(pod.Spec.Containers) != 2 {
		t.Errorf("socket: expected no Envoy, got %+v", pod.Spec)
	}
	awaitOK(t, ns, "deployment/both")
	if pod := onlyPod(t, ns, "both"); len(pod.Spec.InitContainers) != 1 || pod.Spec.InitContainers[0].Name != "envoy" {
		t.Errorf("both: expected an Envoy, got %+v", pod.Spec.InitContainers)
	}
}
