package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestDisruptiveDualStack: pods have addresses of both families, and the Service between them IPv6 ones alone. Callers
// are on another node. It runs beside no other test because it needs such a cluster.
func TestDisruptiveDualStack(t *testing.T) {
	first, second := twoNodes(t)
	ns := namespace(t)
	server := api(ns, id(ns, "valid"))
	server.ports = []int32{8443, 8444}
	delete(server.annotations, "spiffe.io/app-port")
	delete(server.annotations, "spiffe.io/allowed-peers")
	server.annotations["spiffe.io/inbound"] = list(
		item{"listen": 8443, "app": 8080, "peers": []string{id(ns, "valid")}},
		item{"listen": 8444, "app": 8080, "tls": "permissive", "peers": []string{id(ns, "valid")}},
	)
	six := server.service(ns)
	six.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	four := server.service(ns)
	four.Name, four.Spec.IPFamilies = "api-four", []corev1.IPFamily{corev1.IPv4Protocol}
	valid := client(ns, "valid")
	valid.annotations["spiffe.io/upstreams"] = fmt.Sprintf(
		`[{listen: 8000, address: "api.%[1]s.svc:8443", peers: [%[2]s]}, {listen: 8001, address: "api-four.%[1]s.svc:8443", peers: [%[2]s]}]`,
		ns, id(ns, "api"))
	outsider := workload{name: "outsider", command: []string{"/podtool", "api", "--listen", "127.0.0.1:8080"}}
	apply(t, six, four, first.pinned(server).deployment(ns), second.pinned(valid).deployment(ns),
		second.pinned(client(ns, "invalid")).deployment(ns), second.pinned(outsider).deployment(ns))
	rollout(t, ns, "deployment/api", "deployment/valid", "deployment/invalid", "deployment/outsider")
	pod := apiPod(t, ns)
	address := ipv6Of(t, pod)

	t.Run("the valid client gets ok by each family, from its pod's address of it", func(t *testing.T) {
		caller := onlyPod(t, ns, "valid")
		for port, want := range map[int]string{8000: ipv6Of(t, caller), 8001: caller.Status.PodIP} {
			got := echo(t, ns, "deployment/valid", fmt.Sprintf("http://127.0.0.1:%d/echo", port))
			if from := got.Headers["X-Forwarded-For"]; !slices.Equal(from, []string{want}) || !strings.Contains(got.caller(), id(ns, "valid")) {
				t.Errorf("port %d: expected the app to be told of the valid client at %s, got %+v", port, want, got)
			}
		}
	})
	t.Run("the invalid client is refused", func(t *testing.T) {
		out, err := in(t, ns, "deployment/invalid", "/sample", "get", url)
		if err == nil || !strings.HasPrefix(out, "upstream connect error") {
			t.Errorf("expected an upstream connect error, got %q (%v)", out, err)
		}
		from := ipv6Of(t, onlyPod(t, ns, "invalid"))
		awaitLog(t, ns, "deployment/api", "the invalid client's ID and address", func(l logLine) bool {
			return l.Event == "handshake_refused" && l.Peer == "spiffe://example.org"+id(ns, "invalid") &&
				strings.HasPrefix(l.Remote, "["+from+"]:")
		})
	})
	t.Run("callers without a certificate reach what is open to them", func(t *testing.T) {
		for port, want := range map[string]string{
			"8443":  "refused",
			"8444":  ipv6Of(t, onlyPod(t, ns, "outsider")), // permissive: the app is told who calls
			"8080":  "connection refused",                  // the app is on 127.0.0.1
			"15000": "connection refused",                  // and so is Envoy's admin interface
			"15021": "200 OK",                              // readiness
		} {
			path := "/echo"
			if port == "15021" {
				path = "/ready"
			}
			if out := dial(t, ns, net.JoinHostPort(address, port), path); !strings.Contains(out, want) {
				t.Errorf("port %s: expected %q, got %q", port, want, out)
			}
		}
	})
}

// ipv6Of is the second address of a pod on a cluster with both families.
func ipv6Of(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	for _, address := range pod.Status.PodIPs {
		if parsed, err := netip.ParseAddr(address.IP); err == nil && parsed.Is6() {
			return address.IP
		}
	}
	t.Fatalf("pod %s has the addresses %v, none of IPv6: run this as `CLUSTER=two NODES=2 DUAL_STACK=true make e2e-one TEST=%s`",
		pod.Name, pod.Status.PodIPs, t.Name())
	return ""
}
