package networkpolicies

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// Identities in order.
var (
	idA = strings.Repeat("a", 26)
	idB = strings.Repeat("b", 26)
)

func TestDesired(t *testing.T) {
	envoy := func(identity string, ports ...uint16) Pod { return Pod{Identity: identity, Envoy: true, Ports: ports} }
	many := make([]uint16, maxPorts+1)
	for i := range many {
		many[i] = uint16(i + 1)
	}
	for _, test := range []struct {
		name string
		pods []Pod
		want []Policy
		left []string // identities
	}{
		{"no pods", nil, nil, nil},
		{"replicas are one", []Pod{envoy(idA, 8443, 15021), envoy(idA, 8443, 15021)}, []Policy{{idA, []uint16{8443, 15021}}}, nil},
		{"each is open where any is", []Pod{envoy(idA, 15021, 9443), envoy(idA, 15021, 8443)},
			[]Policy{{idA, []uint16{8443, 9443, 15021}}}, nil},
		{"identities in order", []Pod{envoy(idB, 1), envoy(idA, 2)}, []Policy{{idA, []uint16{2}}, {idB, []uint16{1}}}, nil},
		{"nothing of mode socket is closed", []Pod{{Identity: idA}, envoy(idB, 1)}, []Policy{{idB, []uint16{1}}}, nil},
		{"nothing beside a pod without Envoy", []Pod{envoy(idA, 8443), {Identity: idA}, envoy(idB, 1)},
			[]Policy{{idB, []uint16{1}}}, []string{idA}},
		{"a label that the webhook did not write", []Pod{envoy("", 1), envoy("Short", 1), envoy(idA+"a", 1)}, nil, nil},
		{"as many as fit", []Pod{envoy(idA, many[:maxPorts]...)}, []Policy{{idA, many[:maxPorts]}}, nil},
		{"too many", []Pod{envoy(idA, many...), envoy(idB, 1)}, []Policy{{idB, []uint16{1}}}, []string{idA}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, left := Desired(test.pods)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
			var identities []string
			for _, l := range left {
				identities = append(identities, l.Identity)
				if l.Why == "" {
					t.Error("an identity is left out without a reason")
				}
			}
			if !slices.Equal(identities, test.left) {
				t.Errorf("left out: expected %v, got %v", test.left, identities)
			}
		})
	}
}

func TestObject(t *testing.T) {
	const want = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: spire-injector-aaaaaaaaaaaaaaaaaaaaaaaaaa
  namespace: shop
spec:
  ingress:
  - ports:
    - port: 8443
      protocol: TCP
    - port: 15021
      protocol: TCP
  podSelector:
    matchLabels:
      spiffe.io/identity: aaaaaaaaaaaaaaaaaaaaaaaaaa
  policyTypes:
  - Ingress
`
	got, err := yaml.Marshal(Policy{idA, []uint16{8443, 15021}}.Object("shop"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlan(t *testing.T) {
	kept := func(identity string, ports ...uint16) *networkingv1.NetworkPolicy {
		policy := Policy{identity, ports}.Object("shop")
		policy.Labels, policy.ResourceVersion = Labels("spire-injector"), "7"
		return policy
	}
	annotated := kept(idA, 8443)
	annotated.Labels["team"], annotated.Annotations = "x", map[string]string{"x": "y"}
	open := kept(idA, 8443)
	open.Spec.Ingress = append(open.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{})
	desired := []Policy{{idA, []uint16{8443}}}
	for _, test := range []struct {
		name                   string
		desired                []Policy
		existing               []*networkingv1.NetworkPolicy
		create, update, remove []string
	}{
		{"as it should be", desired, []*networkingv1.NetworkPolicy{kept(idA, 8443)}, nil, nil, nil},
		{"labels of others stay", desired, []*networkingv1.NetworkPolicy{annotated}, nil, nil, nil},
		{"missing", desired, nil, []string{idA}, nil, nil},
		{"another port", desired, []*networkingv1.NetworkPolicy{kept(idA, 9443)}, nil, []string{idA}, nil},
		{"opened by somebody", desired, []*networkingv1.NetworkPolicy{open}, nil, []string{idA}, nil},
		{"not needed", nil, []*networkingv1.NetworkPolicy{kept(idB, 1), kept(idA, 1)}, nil, nil, []string{idA, idB}},
	} {
		t.Run(test.name, func(t *testing.T) {
			steps := Plan("spire-injector", "shop", test.desired, test.existing)
			for _, each := range []struct {
				what string
				got  []*networkingv1.NetworkPolicy
				want []string
			}{{"create", steps.Create, test.create}, {"update", steps.Update, test.update}, {"delete", steps.Delete, test.remove}} {
				var got []string
				for _, policy := range each.got {
					got = append(got, strings.TrimPrefix(policy.Name, NamePrefix))
					if !isOf("spire-injector", policy) || isOf("another", policy) {
						t.Errorf("%s: labels %v", each.what, policy.Labels)
					}
				}
				if !slices.Equal(got, each.want) {
					t.Errorf("%s: expected %v, got %v", each.what, each.want, got)
				}
			}
			for _, policy := range steps.Update {
				if diff := cmp.Diff(desired[0].Object("shop").Spec, policy.Spec); diff != "" || policy.ResourceVersion != "7" {
					t.Errorf("update of version %q (-want +got):\n%s", policy.ResourceVersion, diff)
				}
			}
		})
	}
}
