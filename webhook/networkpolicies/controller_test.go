package networkpolicies

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// removing is a controller that nothing is asked of, on an API server that answers lists with an error, if there is one.
func removing(t *testing.T, failing error, policies ...client.Object) (*Controller, client.Client) {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(policies...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if failing != nil {
				return failing
			}
			return c.List(ctx, list, options...)
		},
	}).Build()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Injector: "spire-injector", Direct: c, Writer: c, Metrics: metrics, Logger: logr.Discard()}), c
}

// Whoever has not been given the rights has kept nothing. That is a fault only of who has lost them.
func TestRemoveWithoutRights(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(networkingv1.Resource("networkpolicies"), "", errors.New("no"))
	c, _ := removing(t, forbidden)
	if err := c.remove(false)(t.Context()); err != nil {
		t.Errorf("never asked for: %v", err)
	}
	if err := c.remove(true)(t.Context()); err == nil || !strings.Contains(err.Error(), "workload-network-policies") {
		t.Errorf("asked for before: expected an error that names the component, got %v", err)
	}
}

// The policies of others stay, whatever they are called.
func TestRemoveOwnAlone(t *testing.T) {
	t.Parallel()
	kept := func(injector, namespace string) *networkingv1.NetworkPolicy {
		policy := Policy{idA, []uint16{8443}}.Object(namespace)
		policy.Labels = Labels(injector)
		return policy
	}
	theirs := kept("spire-injector", "theirs")
	delete(theirs.Labels, "app.kubernetes.io/managed-by")
	c, server := removing(t, nil, kept("spire-injector", "a"), kept("spire-injector", "b"), kept("another", "c"), theirs)
	if err := c.remove(true)(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left networkingv1.NetworkPolicyList
	if err := server.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, policy := range left.Items {
		names = append(names, policy.Namespace)
	}
	if got := strings.Join(names, " "); got != "c theirs" {
		t.Errorf("policies are left in %q, expected those of others", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, wanted, left, failed float64) {
		t.Helper()
		for state, n := range map[string]float64{"wanted": wanted, "left_out": left, "failed": failed} {
			if got := testutil.ToFloat64(m.policies.WithLabelValues(state)); got != n {
				t.Errorf("%s: %s is %g, expected %g", when, state, got, n)
			}
		}
	}
	m.set("a", 3, 1, 0)
	m.set("b", 2, 0, 2)
	want("two namespaces", 5, 1, 2)
	m.set("b", 2, 0, 0)
	want("what failed has succeeded", 5, 1, 0)
	m.set("a", 0, 0, 0)
	want("one is gone", 2, 0, 0)
	m.reset()
	want("none is asked for", 0, 0, 0)
}
