package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
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
	route := func(match, app string) item {
		return item{"match": match, "address": fmt.Sprintf("%s.%s.svc:8443", app, ns), "peers": []string{id(ns, app)}}
	}
	edge := gateway(ns, id(ns, "valid"), route("/echo/one", "one"), route("/echo/two", "two"), route("app.example.org/", "two"))
	outsider := workload{name: "outsider", args: []string{"api"}}
	inside := client(ns, "valid")
	inside.annotations["spiffe.io/upstreams"] = list(item{"listen": 8000, "address": "gateway." + ns + ".svc:8443", "peers": []string{id(ns, "gateway")}})
	objects = append(objects, edge.service(ns), edge.deployment(ns), outsider.deployment(ns), inside.deployment(ns))
	apply(t, objects...)
	rollout(t, ns, append(names, "deployment/gateway", "deployment/outsider", "deployment/valid")...)
	public := "http://gateway." + ns + ".svc:10080"

	t.Run("the public listener routes by path and host", func(t *testing.T) {
		for _, test := range []struct{ path, host, app string }{
			{"/echo/one", "", "one"}, {"/echo/one/x?y=z", "", "one"}, {"/echo/two", "", "two"}, {"/echo", "app.example.org", "two"},
			{"/echo/one/../two", "", "two"}, // as every app behind it would read it
		} {
			got := echo(t, ns, "deployment/outsider", public+test.path, "--header", "Host: "+test.host, "--header", "X-Forwarded-Client-Cert: URI=spiffe://example.org/forged")
			if !strings.HasPrefix(got.Pod, test.app+"-") {
				t.Errorf("%+v was answered by %q", test, got.Pod)
			}
			caller := strings.Join(got.Headers["X-Forwarded-Client-Cert"], ";")
			if !strings.Contains(caller, "URI=spiffe://example.org"+id(ns, "gateway")) || strings.Contains(caller, "forged") {
				t.Errorf("%+v: expected the gateway as the caller, got %q", test, caller)
			}
		}
		for _, path := range []string{"/echo/ones", "/echo", "/api"} {
			if out, _ := in(t, ns, "deployment/outsider", "/sample", "dial", "gateway."+ns+".svc:10080", "--plain", "--path", path); !strings.Contains(out, "answered: 404") {
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
		if len(pod.Spec.InitContainers) != 0 || len(pod.Spec.Containers) != 1 || restarts(pod) != 0 {
			t.Errorf("expected one container, got %+v and %+v", pod.Spec.InitContainers, pod.Spec.Containers)
		}
	})
}

// echo asks a sample API, from a workload's app, what arrives there.
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
	socket := workload{name: "socket", args: []string{"api"}, annotations: identified(ns, "socket", map[string]string{"spiffe.io/mode": "socket"})}
	socket.edit = func(spec *corev1.PodSpec) {
		spec.Containers = append(spec.Containers, container("second", "api", "--listen", "127.0.0.1:8081"))
	}
	both := client(ns, "both")
	both.annotations["spiffe.io/mode"] = "sidecar,socket"
	deploy(t, ns, api(ns, id(ns, "both")), socket, both)

	for workload, containers := range map[string][]string{"socket": {"app", "second"}, "both": {"app"}} {
		for _, c := range containers {
			eventually(t, workload+", container "+c+": its SVID", func() error { // an app without Envoy is not waited for
				out, err := shared.k.Run(t.Context(), "--namespace", ns, "exec", "deployment/"+workload, "--container", c, "--", "/sample", "svid", "-o", "json")
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
	if out, err := in(t, ns, "deployment/both", "/sample", "get", url); err != nil || out != "ok\n" {
		t.Errorf("both: expected ok through its Envoy, got %q (%v)", out, err)
	}
	if pod := onlyPod(t, ns, "both"); !slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "envoy" }) {
		t.Errorf("both: expected an Envoy, got %+v", pod.Spec.InitContainers)
	}
}
