package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// injectorName is that of the default injector's namespace, service account and nearly everything else.
const injectorName = "spire-injector"

// dryRun lets the API server decide as ever and store nothing.
var dryRun = []string{metav1.DryRunAll}

// asInjector is the configuration of a client with a token of the injector's service account: exactly what someone has who takes over
// the injector's pod.
func asInjector(t *testing.T) *rest.Config {
	t.Helper()
	token, err := clientset(t).CoreV1().ServiceAccounts(injectorName).CreateToken(t.Context(), injectorName, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", shared.env.Kubeconfig)
	must(t, err)
	config = rest.AnonymousClientConfig(config)
	config.BearerToken, config.QPS = token.Status.Token, -1
	return config
}

// call is one of the API.
type call struct {
	name string
	do   func(context.Context, kubernetes.Interface) error
}

// The injector can do what it has to. Most of that it does all the time, or no other test would pass; here are the calls that
// it makes seldom too.
func TestInjectorHasItsRights(t *testing.T) {
	t.Parallel()
	client, err := kubernetes.NewForConfig(asInjector(t))
	must(t, err)
	nothing := []byte(`{"metadata":{"annotations":{"example.org/tried":""}}}`)
	for _, c := range []call{
		{"read its platform file", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(injectorName).Get(ctx, "spire-injector-config", metav1.GetOptions{})
			return err
		}},
		{"watch its platform file", func(ctx context.Context, c kubernetes.Interface) error {
			w, err := c.CoreV1().ConfigMaps(injectorName).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=spire-injector-config"})
			if err == nil {
				w.Stop()
			}
			return err
		}},
		{"list namespaces", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			return err
		}},
		{"read its lease", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoordinationV1().Leases(injectorName).Get(ctx, injectorName, metav1.GetOptions{})
			return err
		}},
		{"write its lease", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoordinationV1().Leases(injectorName).Patch(ctx, injectorName, types.MergePatchType, nothing, metav1.PatchOptions{DryRun: dryRun})
			return err
		}},
		{"make a lease", func(ctx context.Context, c kubernetes.Interface) error {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "tried"}}
			_, err := c.CoordinationV1().Leases(injectorName).Create(ctx, lease, metav1.CreateOptions{DryRun: dryRun})
			return err
		}},
		{"tell an event", func(ctx context.Context, c kubernetes.Interface) error {
			event := &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Name: "tried"},
				InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: injectorName, Name: "spire-injector-config"},
			}
			_, err := c.CoreV1().Events(injectorName).Create(ctx, event, metav1.CreateOptions{DryRun: dryRun})
			return err
		}},
		{"write its serving certificate", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets(injectorName).Patch(ctx, "spire-injector-serving-cert", types.MergePatchType, nothing, metav1.PatchOptions{DryRun: dryRun})
			return err
		}},
		{"write its mutating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, injectorName, types.MergePatchType, nothing, metav1.PatchOptions{DryRun: dryRun})
			return err
		}},
		{"write its validating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, injectorName, types.MergePatchType, nothing, metav1.PatchOptions{DryRun: dryRun})
			return err
		}},
	} {
		if err := c.do(t.Context(), client); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Whoever takes the injector over does not get the cluster with it. The same attempts succeed for an administrator, or fail for
// another reason: so there is nothing else wrong with them.
func TestInjectorHasNoOtherRights(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	admin := clientset(t)
	anothers := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: ns}} // without webhooks
	_, err := admin.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), anothers, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		_ = admin.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(context.Background(), ns, metav1.DeleteOptions{})
	})
	config := asInjector(t)
	injector, err := kubernetes.NewForConfig(config)
	must(t, err)
	for _, c := range forbidden(ns) {
		if err := c.do(t.Context(), injector); !lacksRight(err) {
			t.Errorf("%s: expected that the API server forbids it, got: %v", c.name, err)
		}
		if err := c.do(t.Context(), admin); lacksRight(err) {
			t.Errorf("%s: an administrator may not do it either: %v", c.name, err)
		}
	}

	t.Run("exec", func(t *testing.T) {
		_, err := shared.k.Run(t.Context(), "--as", "system:serviceaccount:"+injectorName+":"+injectorName,
			"--namespace", "spire", "exec", "spire-server-0", "--", "/opt/spire/bin/spire-server", "--help")
		if err == nil || !strings.Contains(err.Error(), `cannot create resource "pods/exec"`) {
			t.Errorf("expected that the API server forbids it, got: %v", err)
		}
	})
	t.Run("impersonation", func(t *testing.T) {
		for _, who := range []rest.ImpersonationConfig{
			{UserName: "system:admin", Groups: []string{"system:masters"}}, {UserName: "system:serviceaccount:spire:spire-server"},
		} {
			other := rest.CopyConfig(config)
			other.Impersonate = who
			client, err := kubernetes.NewForConfig(other)
			must(t, err)
			if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !lacksRight(err) {
				t.Errorf("%s: expected that the API server forbids it, got: %v", who.UserName, err)
			}
		}
	})
}

// lacksRight says whether the caller's rights are what an error is about: other things are forbidden too, by admission.
func lacksRight(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot ")
}

// forbidden are calls that change nothing even where they are allowed.
func forbidden(ns string) []call {
	patch := []byte(`{"metadata":{"annotations":{"example.org/tried":""}}}`)
	dryPatch, dryCreate, dryDelete := metav1.PatchOptions{DryRun: dryRun}, metav1.CreateOptions{DryRun: dryRun}, metav1.DeleteOptions{DryRun: dryRun}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "tried"}, Spec: corev1.PodSpec{Containers: []corev1.Container{container("app")}}}
	root := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}
	self := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: injectorName, Name: injectorName}}
	list := []call{
		{"read secrets of the whole cluster", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
			return err
		}},
		{"make a secret beside its own", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets(injectorName).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "tried"}}, dryCreate)
			return err
		}},
		{"read another ConfigMap of its own namespace", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(injectorName).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return err
		}},
		{"list the ConfigMaps of its own namespace", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(injectorName).List(ctx, metav1.ListOptions{})
			return err
		}},
		{"write its platform file", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(injectorName).Patch(ctx, "spire-injector-config", types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"read SPIRE's bundle", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("spire").Get(ctx, "spire-bundle", metav1.GetOptions{})
			return err
		}},
		{"write SPIRE's bundle", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("spire").Patch(ctx, "spire-bundle", types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"write another lease", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoordinationV1().Leases("kube-system").Patch(ctx, "kube-scheduler", types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"write a namespace", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Namespaces().Patch(ctx, ns, types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"delete a namespace", func(ctx context.Context, c kubernetes.Interface) error {
			return c.CoreV1().Namespaces().Delete(ctx, ns, dryDelete)
		}},
		{"read nodes", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			return err
		}},
		{"write another's mutating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, ns, types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"read another's mutating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, ns, metav1.GetOptions{})
			return err
		}},
		{"register another webhook", func(ctx context.Context, c kubernetes.Interface) error {
			tried := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "tried"}}
			_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, tried, dryCreate)
			return err
		}},
		{"delete its own registration", func(ctx context.Context, c kubernetes.Interface) error {
			return c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, injectorName, dryDelete)
		}},
		{"delete the policies that guard what it wrote", func(ctx context.Context, c kubernetes.Interface) error {
			policies := c.AdmissionregistrationV1().ValidatingAdmissionPolicies()
			return policies.DeleteCollection(ctx, dryDelete, metav1.ListOptions{FieldSelector: "metadata.name=tried"})
		}},
		{"make itself an administrator", func(ctx context.Context, c kubernetes.Interface) error {
			binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "tried"}, RoleRef: root, Subjects: self}
			_, err := c.RbacV1().ClusterRoleBindings().Create(ctx, binding, dryCreate)
			return err
		}},
		{"make itself an administrator of its namespace", func(ctx context.Context, c kubernetes.Interface) error {
			binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "tried"}, RoleRef: root, Subjects: self}
			_, err := c.RbacV1().RoleBindings(injectorName).Create(ctx, binding, dryCreate)
			return err
		}},
		{"add to its own role", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.RbacV1().ClusterRoles().Patch(ctx, injectorName, types.MergePatchType, patch, dryPatch)
			return err
		}},
	}
	for _, namespace := range []string{ns, injectorName, "spire", "kube-system"} {
		list = append(list,
			call{"create a pod in " + namespace, func(ctx context.Context, c kubernetes.Interface) error {
				_, err := c.CoreV1().Pods(namespace).Create(ctx, pod.DeepCopy(), dryCreate)
				return err
			}},
			call{"make a token in " + namespace, func(ctx context.Context, c kubernetes.Interface) error {
				_, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, dryCreate)
				return err
			}},
		)
		if namespace != injectorName { // there it lists them, for its serving certificate
			list = append(list, call{"read secrets of " + namespace, func(ctx context.Context, c kubernetes.Interface) error {
				_, err := c.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
				return err
			}})
		}
	}
	return list
}

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
			{Verb: "get", Resource: "nodes", Subresource: "proxy"}, {Verb: "list", Resource: "nodes"}, {Verb: "patch", Resource: "nodes"},
			{Verb: "update", Resource: "namespaces"}, {Verb: "delete", Resource: "namespaces"}, {Verb: "create", Resource: "namespaces"},
			{Verb: "update", Resource: "namespaces", Subresource: "finalize"}, {Verb: "list", Resource: "persistentvolumes"},
			{Verb: "update", Resource: "services"}, {Verb: "update", Resource: "endpoints"}, {Verb: "delete", Resource: "events"},
			{Verb: "create", Group: "apps", Resource: "deployments"}, {Verb: "delete", Group: "apps", Resource: "deployments"},
			{Verb: "create", Group: "apps", Resource: "daemonsets"}, {Verb: "create", Group: "batch", Resource: "jobs"},
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
			{Verb: "delete", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: injectorName},
			{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"},
			{Verb: "delete", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicybindings"},
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
