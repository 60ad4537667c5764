package e2e

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
)

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
		{"write a node", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Nodes().Patch(ctx, "node1", types.MergePatchType, patch, dryPatch)
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
		{"write its own mutating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, injectorName, types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"write its own validating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, injectorName, types.MergePatchType, patch, dryPatch)
			return err
		}},
		{"replace its own mutating registration", func(ctx context.Context, c kubernetes.Interface) error {
			own := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: injectorName}}
			_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(ctx, own, metav1.UpdateOptions{DryRun: dryRun})
			return err
		}},
		{"write its serving certificate", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets(injectorName).Patch(ctx, "spire-injector-serving-cert", types.MergePatchType, patch, dryPatch)
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
		{"run a command in the SPIRE server", func(ctx context.Context, c kubernetes.Interface) error {
			options := &corev1.PodExecOptions{Command: []string{"/opt/spire/bin/spire-server", "--help"}, Stdout: true}
			request := c.CoreV1().RESTClient().Post().Namespace("spire").Resource("pods").Name("spire-server-0").SubResource("exec")
			return request.VersionedParams(options, scheme.ParameterCodec).Do(ctx).Error() // only asked for: it does not upgrade
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
		list = append(list, call{"read secrets of " + namespace, func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
			return err
		}})
	}
	return list
}
