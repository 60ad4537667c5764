package e2e

import (
	"context"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
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

// asInjector is the configuration of a client with a token of the injector's service account: exactly what someone has
// who takes over the injector's pod.
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

// The injector can do what it has to. Most of that it does all the time, or no other test would pass; here are the
// calls that it makes seldom too.
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
		{"list nodes", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
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
		{"read its serving certificate", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets(injectorName).Get(ctx, "spire-injector-serving-cert", metav1.GetOptions{})
			return err
		}},
		{"read its mutating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, injectorName, metav1.GetOptions{})
			return err
		}},
		{"read its validating registration", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, injectorName, metav1.GetOptions{})
			return err
		}},
	} {
		if err := c.do(t.Context(), client); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Whoever takes the injector over does not get the cluster with it. The same attempts succeed for an administrator, or
// fail for another reason: so there is nothing else wrong with them.
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

	t.Run("impersonation", func(t *testing.T) {
		for _, who := range []rest.ImpersonationConfig{
			{UserName: "system:admin", Groups: []string{"system:masters"}}, {UserName: "system:serviceaccount:spire:spire-server"},
		} {
			other := rest.CopyConfig(config)
			other.Impersonate = who
			client, err := kubernetes.NewForConfig(other)
			must(t, err)
			_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
			if !lacksRight(err) || !strings.Contains(err.Error(), "cannot impersonate") {
				t.Errorf("%s: expected that the API server forbids it, got: %v", who.UserName, err)
			}
		}
	})
}

// lacksRight says whether the caller's rights are what an error is about: other things are forbidden too, by admission.
func lacksRight(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot ")
}
