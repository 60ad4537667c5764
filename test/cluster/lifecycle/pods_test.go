package lifecycle

import (
	_ "embed"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/local"
)

//go:embed pods.yaml
var pods string

// testPods checks what the demos build on: native sidecars, volumes, names, service addresses, logs and exec.
func testPods(t *testing.T, info local.Info) {
	kubectl(t, info, pods, "apply", "--filename=-")
	kubectl(t, info, "", "wait", "--namespace=lifecycle", "--for=condition=Ready", "--timeout=60s", "pod/web", "pod/client", "pod/on-node")

	for what, args := range map[string][]string{
		"a pod by a service's name":                {"client", "--", "wget", "-q", "-O", "-", "http://web.lifecycle/greeting"},
		"a pod by a service's full name":           {"client", "--", "wget", "-q", "-O", "-", "http://web.lifecycle.svc.cluster.local/greeting"},
		"a service from the node's own network":    {"on-node", "--", "wget", "-q", "-O", "-", "http://web.lifecycle/greeting"},
		"a service that leads back to the caller":  {"web", "--container=app", "--", "wget", "-q", "-O", "-", "http://web.lifecycle/greeting"},
		"a volume that was made for the pod's own": {"web", "--container=app", "--", "cat", "/data/greeting"},
	} {
		if got := kubectl(t, info, "", append([]string{"exec", "--namespace=lifecycle"}, args...)...); got != "hello\n" {
			t.Errorf("%s: got %q, want %q", what, got, "hello\n")
		}
	}
	if got := kubectl(t, info, "", "logs", "--namespace=lifecycle", "web", "--container=sidecar"); got != "sidecar started\n" {
		t.Errorf("log of a native sidecar: got %q", got)
	}
	order := kubectl(t, info, "", "get", "pod", "web", "--namespace=lifecycle", "--output=jsonpath={.status.initContainerStatuses[0].state.running.startedAt}"+
		" {.status.containerStatuses[0].state.running.startedAt}")
	sidecar, app, ok := strings.Cut(order, " ")
	if !ok || sidecar == "" || app == "" || app < sidecar {
		t.Errorf("expected the native sidecar to run, and to have started before the app; got sidecar %q, app %q", sidecar, app)
	}
	if got := kubectl(t, info, "", "get", "pvc", "data", "--namespace=lifecycle", "--output=jsonpath={.status.phase} {.spec.storageClassName}"); got != "Bound standard" {
		t.Errorf("volume claim: got %q, want %q", got, "Bound standard")
	}
}
