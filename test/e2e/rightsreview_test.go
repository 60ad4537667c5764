package e2e

import (
	"fmt"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// What the rules say, asked one by one: also what an attempt could do harm with.
func TestInjectorsRightsByReview(t *testing.T) {
	t.Parallel()
	client, err := kubernetes.NewForConfig(asInjector(t))
	must(t, err)
	for _, namespace := range []string{"default", injectorName, "spire", "kube-system"} {
		for _, no := range []authorizationv1.ResourceAttributes{
			{Verb: "create", Resource: "pods"}, {Verb: "delete", Resource: "pods"}, {Verb: "create", Resource: "pods", Subresource: "exec"},
			{Verb: "create", Resource: "pods", Subresource: "attach"}, {Verb: "create", Resource: "pods", Subresource: "portforward"},
			{Verb: "get", Resource: "pods", Subresource: "log"}, {Verb: "get", Resource: "pods", Subresource: "proxy"},
			{Verb: "patch", Resource: "pods", Subresource: "ephemeralcontainers"}, {Verb: "create", Resource: "pods", Subresource: "binding"},
			{Verb: "patch", Resource: "pods", Subresource: "status"}, {Verb: "create", Resource: "pods", Subresource: "eviction"},
			{Verb: "get", Resource: "secrets"}, {Verb: "create", Resource: "secrets"}, {Verb: "delete", Resource: "secrets"},
			{Verb: "list", Resource: "configmaps"}, {Verb: "create", Resource: "configmaps"}, {Verb: "update", Resource: "configmaps"},
			{Verb: "create", Resource: "serviceaccounts"}, {Verb: "create", Resource: "serviceaccounts", Subresource: "token"},
			{Verb: "impersonate", Resource: "serviceaccounts"}, {Verb: "impersonate", Resource: "users"}, {Verb: "impersonate", Resource: "groups"},
			{Verb: "get", Resource: "nodes", Subresource: "proxy"}, {Verb: "patch", Resource: "nodes"},
			{Verb: "update", Resource: "namespaces"}, {Verb: "delete", Resource: "namespaces"}, {Verb: "create", Resource: "namespaces"},
			{Verb: "update", Resource: "namespaces", Subresource: "finalize"}, {Verb: "list", Resource: "persistentvolumes"},
			{Verb: "update", Resource: "services"}, {Verb: "update", Resource: "endpoints"}, {Verb: "delete", Resource: "events"},
			{Verb: "create", Group: "apps", Resource: "deployments"}, {Verb: "delete", Group: "apps", Resource: "deployments"},
			{Verb: "create", Group: "apps", Resource: "daemonsets"}, {Verb: "create", Group: "batch", Resource: "jobs"},
			{Verb: "list", Group: "apps", Resource: "deployments"}, {Verb: "list", Group: "batch", Resource: "cronjobs"},
			{Verb: "update", Group: "apps", Resource: "deployments", Subresource: "scale"},
			{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Name: "another"}, {Verb: "delete", Group: "coordination.k8s.io", Resource: "leases"},
			{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "rolebindings"},
			{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
			{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}, {Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
			{Verb: "update", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}, {Verb: "update", Group: "rbac.authorization.k8s.io", Resource: "roles"},
			{Verb: "create", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
			{Verb: "update", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
			{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
			{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: "another"},
			{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: injectorName},
			{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: injectorName},
			{Verb: "update", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: injectorName},
			{Verb: "update", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: injectorName},
			{Verb: "list", Resource: "secrets"}, {Verb: "patch", Resource: "secrets", Name: "spire-injector-serving-cert"},
			{Verb: "delete", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: injectorName},
			{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"},
			{Verb: "delete", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicybindings"},
			{Verb: "list", Group: "networking.k8s.io", Resource: "networkpolicies"}, {Verb: "create", Group: "networking.k8s.io", Resource: "networkpolicies"},
			{Verb: "create", Group: "certificates.k8s.io", Resource: "certificatesigningrequests"},
			{Verb: "approve", Group: "certificates.k8s.io", Resource: "signers"}, {Verb: "create", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
			{Verb: "create", Group: "apiregistration.k8s.io", Resource: "apiservices"}, {Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
			{Verb: "*", Group: "*", Resource: "*"},
		} {
			no.Namespace = namespace
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &no}}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			must(t, err)
			if answer.Status.Allowed {
				t.Errorf("it may %s: %s", describe(no), answer.Status.Reason)
			}
		}
		rules, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
			&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}, metav1.CreateOptions{})
		must(t, err)
		for _, rule := range rules.Status.ResourceRules {
			if slices.Contains(rule.Verbs, "*") || slices.Contains(rule.Resources, "*") || slices.Contains(rule.APIGroups, "*") {
				t.Errorf("%s: expected no rule for everything, got %+v", namespace, rule)
			}
		}
	}
}

func describe(a authorizationv1.ResourceAttributes) string {
	return fmt.Sprintf("%s %s.%s/%s %q in %s", a.Verb, a.Resource, a.Group, a.Subresource, a.Name, a.Namespace)
}
