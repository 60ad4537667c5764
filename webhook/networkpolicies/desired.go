package networkpolicies

import (
	"maps"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// NamePrefix is what the names of policies begin with; the identity follows.
const NamePrefix = "spire-injector-"

// maxPorts bounds a policy, which is one object of the API server's.
const maxPorts = 1000

// identities are values of the label that the webhook writes.
var identities = regexp.MustCompile(`^[a-z2-7]{26}$`)

// Pod is what is known of a pod that runs or is about to.
type Pod struct {
	Identity string // the value of its label
	// Envoy says that it has one. Of other pods nobody knows which ports they serve.
	Envoy bool
	// Ports are those that stay open.
	Ports []uint16
}

// Policy is one that should be: it closes what is not listed.
type Policy struct {
	Identity string
	Ports    []uint16 // in order
}

// Left is an identity without a policy, and why.
type Left struct {
	Identity string
	Why      string
}

// Desired are the policies of a namespace with these pods, in the order of their identities. Pods of one identity cannot
// be told apart: each of them is open where any is, and none is closed beside one without an Envoy.
func Desired(pods []Pod) (policies []Policy, left []Left) {
	open := map[string]map[uint16]bool{}
	without := map[string]bool{}
	for _, pod := range pods {
		if !identities.MatchString(pod.Identity) {
			continue
		}
		if open[pod.Identity] == nil {
			open[pod.Identity] = map[uint16]bool{}
		}
		if !pod.Envoy {
			without[pod.Identity] = true
		}
		for _, port := range pod.Ports {
			open[pod.Identity][port] = true
		}
	}
	for _, identity := range slices.Sorted(maps.Keys(open)) {
		ports := open[identity]
		switch {
		case without[identity] && len(ports) == 0: // as in mode socket: nothing of them is to be closed
		case without[identity]:
			left = append(left, Left{identity, "pods without an Envoy have the same identity, and nobody knows which ports they serve; " +
				"give them another identity"})
		case len(ports) > maxPorts:
			left = append(left, Left{identity, "its pods have more ports than a NetworkPolicy takes; give some of them another identity"})
		default:
			policies = append(policies, Policy{identity, slices.Sorted(maps.Keys(ports))})
		}
	}
	return policies, left
}

// Name is that of the policy in its namespace.
func (p Policy) Name() string { return NamePrefix + p.Identity }

// Object is the policy as the API server has it. Who keeps it adds [Labels].
func (p Policy) Object(namespace string) *networkingv1.NetworkPolicy {
	rule := networkingv1.NetworkPolicyIngressRule{}
	for _, port := range p.Ports {
		rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{
			Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(int32(port))),
		})
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.Name()},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{intent.LabelIdentity: p.Identity}},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{rule},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
}

// Labels tell the policies that an injector keeps from all others; the injector is known by its namespace.
func Labels(injector string) map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "spire-injector", "app.kubernetes.io/instance": injector}
}

// isOf says whether a policy is one that an injector keeps.
func isOf(injector string, policy *networkingv1.NetworkPolicy) bool {
	for key, value := range Labels(injector) {
		if policy.Labels[key] != value {
			return false
		}
	}
	return true
}
