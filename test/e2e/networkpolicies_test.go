package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/spire-injector/spire-injector/test/install"
)

// Where the network enforces NetworkPolicies, an app that listens on all addresses is reached through Envoy alone. Its own
// port opens and closes with an annotation of the running pod, and the policy goes with the last pod.
func TestDisruptiveNetworkPolicies(t *testing.T) {
	ns := namespace(t)
	injector := releaseOf(t, ns, install.Release{Overlay: filepath.Join(shared.root, "test", "e2e", "networkpolicies")})
	server := api(ns, id(ns, "valid"))
	server.command = []string{"/podtool", "api", "--listen", "0.0.0.0:8080"}
	deploy(t, ns, server, client(ns, "valid"))
	awaitOK(t, ns, "deployment/valid")
	calling(t, ns)
	pod := onlyPod(t, ns, "api")
	direct := func() string { return dials(t, ns, pod, 8080, "--plain", "--path", "/api") }
	const open, closed = "answered: 200", "refused: connecting:"
	await := func(what, want string) {
		t.Helper()
		eventually(t, what, func() error {
			if got := direct(); !strings.HasPrefix(got, want) {
				return fmt.Errorf("the app's own port: expected %s, got %q", want, got)
			}
			return nil
		})
	}
	policies := func() int {
		t.Helper()
		var list networkingv1.NetworkPolicyList
		must(t, shared.k.Get(t.Context(), &list, "networkpolicies", "--namespace", ns, "--selector", "app.kubernetes.io/managed-by=spire-injector"))
		return len(list.Items)
	}
	await("the app, past its sidecar", open)

	closePorts(t, injector)
	eventually(t, "a policy for each identity", func() error {
		if n := policies(); n != 2 {
			return fmt.Errorf("got %d", n)
		}
		return nil
	})
	enforcePolicies(t)
	await("the policy", closed)
	awaitOK(t, ns, "deployment/valid")
	if got := dials(t, ns, pod, 8443, "--tls"); strings.HasPrefix(got, closed) {
		t.Errorf("Envoy's port: expected to be asked for a certificate, got %q", got)
	}
	k(t, ns, "annotate", "pod", pod.Name, "spiffe.io/plain-ports=8080")
	await("the port that is listed", open)
	k(t, ns, "annotate", "pod", pod.Name, "spiffe.io/plain-ports-")
	await("the port that is listed no more", closed)

	k(t, ns, "delete", "deployment", "api", "valid")
	eventually(t, "no policy without pods", func() error {
		if n := policies(); n != 0 {
			return fmt.Errorf("got %d", n)
		}
		return nil
	})
}

// closePorts has an injector of a test's own keep NetworkPolicies, by its platform file.
func closePorts(t *testing.T, injector string) {
	t.Helper()
	var m corev1.ConfigMap
	must(t, shared.k.Get(t.Context(), &m, "configmap", platformMap, "--namespace", injector))
	patch, err := json.Marshal(item{"data": item{"config.yaml": m.Data["config.yaml"] + "networkPolicies: true\n"}})
	must(t, err)
	k(t, injector, "patch", "configmap", platformMap, "--type=merge", "--patch", string(patch))
}
