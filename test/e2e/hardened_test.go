package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// enforcePolicies has NetworkPolicies enforced until the test ends, and then nothing of that left. A cluster that was
// not started here has to do so itself.
func enforcePolicies(t *testing.T) {
	t.Helper()
	cache, err := parts.UserCache()
	must(t, err)
	name, own := local.NameOf(cache, shared.env.Kubeconfig)
	if !own {
		return
	}
	programs, err := parts.EnsurePolicyEngine(t.Context(), cache, os.Stderr)
	must(t, err)
	engine, err := local.EnforcePolicies(t.Context(), local.Options{Name: name, Cache: cache}, programs)
	must(t, err)
	t.Cleanup(func() {
		must(t, engine.Stop())
		rules, err := engine.Rules(context.WithoutCancel(t.Context()))
		if err != nil || len(rules) > 0 {
			t.Errorf("rules that are left: %q, %v", rules, err)
		}
	})
	eventually(t, "rules of the policies", func() error {
		rules, err := engine.Rules(t.Context())
		if err == nil && len(rules) == 0 {
			err = fmt.Errorf("there are none")
		}
		return err
	})
}

// scraper makes the namespace that the NetworkPolicy lets in to the metrics, with a pod and two service accounts, of
// which one may read metrics of an injector.
func scraper(t *testing.T, injector string) (namespace string) {
	t.Helper()
	const name = "monitoring"
	apply(t, &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name},
	})
	binding := injector + "-test-reads-metrics"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, object := range []string{"namespace/" + name, "clusterrolebinding/" + binding} {
			if _, err := shared.k.Run(ctx, "delete", "--ignore-not-found", object); err != nil {
				t.Error(err)
			}
		}
	})
	for _, account := range []string{"reader", "other"} {
		k(t, name, "create", "serviceaccount", account)
	}
	k(t, name, "create", "clusterrolebinding", binding, "--clusterrole", injector+"-metrics-reader",
		"--serviceaccount", name+":reader")
	calling(t, name)
	return name
}

// calling makes a pod that is not injected, and calls others.
func calling(t *testing.T, namespace string) {
	t.Helper()
	apply(t, restricted(workload{name: "caller", command: []string{"/podtool", "api"}}).deployment(namespace))
	rollout(t, namespace, "deployment/caller")
}

// dials calls a port from the pod of a namespace, over TLS or not, and returns what /sample dial says.
func dials(t *testing.T, namespace string, pod corev1.Pod, port int, args ...string) string {
	t.Helper()
	address := fmt.Sprintf("%s:%d", pod.Status.PodIP, port)
	out, _ := in(t, namespace, "deployment/caller", append([]string{"/sample", "dial", address}, args...)...)
	return strings.TrimSpace(out)
}

// What is to be copied for production works, on a network that enforces NetworkPolicies: pods are injected, ports are
// reached by whom they are for, and metrics by those whose token may read them.
func TestDisruptiveHardened(t *testing.T) {
	csiDriver(t)
	forTheInjector(t, "--all")
	injector, served := release(t, "injector/overlays/hardened")
	for _, namespace := range []string{injector, served} {
		_, err := shared.k.Run(t.Context(), "label", "namespace", namespace, "--overwrite",
			"pod-security.kubernetes.io/enforce=restricted")
		must(t, err)
	}
	watching := scraper(t, injector)
	calling(t, served)
	network, err := netip.MustParseAddr(podsOf(t, served, "caller")[0].Status.PodIP).Prefix(16)
	must(t, err)
	k(t, injector, "patch", "networkpolicy", "spire-injector", "--type", "json", "--patch",
		`[{"op": "replace", "path": "/spec/ingress/0/from/0/ipBlock/except", "value": ["`+network.String()+`"]}]`)
	enforcePolicies(t)
	// The kubelet's probes pass: new replicas get ready, and not without them.
	before := podNames(t, injector, "")
	k(t, injector, "rollout", "restart", "deployment/spire-injector")
	rollout(t, injector, "deployment/spire-injector")
	awaitPodsGone(t, injector, before)
	deploy(t, served, restricted(api(served, id(served, "valid"))), restricted(client(served, "valid")))
	awaitOK(t, served, "deployment/valid")
	replica := podsOf(t, injector, "")[0]
	const webhook, metrics, health = 9443, 8080, 8081
	ofMetrics := []string{"--tls", "--path", "/metrics"}
	expect := func(what, got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: expected %s, got %q", what, want, got)
		}
	}
	const closed, unauthorized = "refused: connecting:", "answered: 401"

	eventually(t, "the policy", func() error {
		if got := dials(t, served, replica, webhook, "--tls"); !strings.HasPrefix(got, closed) {
			return fmt.Errorf("a pod got %q from the webhook's port", got)
		}
		return nil
	})
	expect("a pod, metrics", dials(t, served, replica, metrics, ofMetrics...), closed)
	expect("a pod, health", dials(t, served, replica, health, "--plain", "--path", "/readyz"), closed)
	expect("monitoring, webhook", dials(t, watching, replica, webhook, "--tls"), closed)
	expect("monitoring, health", dials(t, watching, replica, health, "--plain", "--path", "/readyz"), closed)

	expect("monitoring without a token", dials(t, watching, replica, metrics, ofMetrics...), unauthorized)
	for account, want := range map[string]string{"reader": "answered: 200", "other": "answered: 403"} {
		token := strings.TrimSpace(k(t, watching, "create", "token", account))
		got := dials(t, watching, replica, metrics, append(ofMetrics, "--header", "Authorization: Bearer "+token)...)
		expect("monitoring as "+account, got, want)
	}

	t.Run("the API server", func(t *testing.T) {
		mistaken := restricted(api(served, "no peer")).pod(served)
		mistaken.Name = "mistaken"
		if message := refused(t, mistaken); !strings.Contains(message, "spiffe.io/allowed-peers") {
			t.Errorf("expected the webhook's answer, got %s", message)
		}
		proxied := "/api/v1/namespaces/" + injector + "/pods/%s:%d/proxy/%s"
		if out, err := shared.k.Run(t.Context(), "get", "--raw", fmt.Sprintf(proxied, replica.Name, health, "readyz")); err != nil || out != "ok" {
			t.Errorf("health: got %q, %v", out, err)
		}
	})

	t.Run("without the policy", func(t *testing.T) {
		k(t, injector, "delete", "networkpolicy", "spire-injector")
		eventually(t, "an answer to any pod", func() error {
			if got := dials(t, served, replica, metrics, ofMetrics...); !strings.HasPrefix(got, unauthorized) {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
		expect("a pod, webhook", dials(t, served, replica, webhook, "--tls"), "answered: 404")
	})
}
