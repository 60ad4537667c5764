package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// What answers when the injector itself is not needed, and when a finished pod is looked at.
const (
	byPolicy    = "ValidatingAdmissionPolicy 'spire-injector" // one of them: what follows says which
	byValidator = `finished-pod.injector.spiffe.io" denied the request`
)

// What injection wrote cannot be changed on a running pod by whoever may change pods, and all else can.
func TestTamperingWithRunningPod(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	before := apiPod(t, ns)
	status := func(operation, pointer, value string) []string {
		patch := fmt.Sprintf(`[{"op": %q, "path": %q, "value": %q}]`, operation, pointer, value)
		return []string{"patch", "pod", "api", "--subresource=status", "--type=json", "--patch", patch}
	}
	tests := []struct {
		name string
		args []string
		want string // in the refusal; empty: it is done
	}{
		{"identity", []string{"label", "pod", "api", "--overwrite", "spiffe.io/identity=stolen"}, "label spiffe.io/identity: is written by the webhook alone"},
		{"identity removed", []string{"label", "pod", "api", "spiffe.io/identity-"}, "label spiffe.io/identity: is written by the webhook alone"},
		{"inject", []string{"label", "pod", "api", "spiffe.io/inject-"}, "label spiffe.io/inject: a running pod cannot take this change, it needs a new pod"},
		{"status", []string{"annotate", "pod", "api", "--overwrite", "spiffe.io/status={}"}, "annotation spiffe.io/status: is written by the webhook alone"},
		{"rules", []string{"annotate", "pod", "api", "--overwrite", "spiffe.io/envoy-authorization={}"}, "annotation spiffe.io/envoy-authorization: is written by the webhook alone"},
		{"rules removed", []string{"annotate", "pod", "api", "spiffe.io/envoy-authorization-"}, "annotation spiffe.io/envoy-authorization: is written by the webhook alone"},
		{"image of the sidecar", []string{"set", "image", "pod/api", "envoy=another"}, "container envoy, image: a running pod cannot take this change, it needs a new pod"},
		{"identity by way of the status", status("replace", "/metadata/labels/spiffe.io~1identity", "stolen"), byPolicy},
		{"status by way of the status", status("replace", "/metadata/annotations/spiffe.io~1status", "{}"), byPolicy},
		{"rules by way of the status", status("replace", "/metadata/annotations/spiffe.io~1envoy-authorization", "{}"), byPolicy},

		{"another's label", []string{"label", "pod", "api", "example.org/a=b"}, ""},
		{"another's annotation", []string{"annotate", "pod", "api", "example.org/a=b"}, ""},
		{"another's annotation by way of the status", status("add", "/metadata/annotations/example.org~1c", "d"), ""},
		{"another tool's label under our prefix", []string{"label", "pod", "api", "spiffe.io/discover=x"}, ""},
		{"finalizer", []string{"patch", "pod", "api", "--patch", `{"metadata": {"finalizers": ["example.org/f"]}}`}, ""},
		{"finalizer removed", []string{"patch", "pod", "api", "--type=merge", "--patch", `{"metadata": {"finalizers": null}}`}, ""},
		{"image of the app", []string{"set", "image", "pod/api", "app=another"}, ""},
		{"peers", []string{"annotate", "pod", "api", "--overwrite", "spiffe.io/allowed-peers=" + id(ns, "other")}, ""},
	}
	for _, test := range tests {
		_, err := shared.k.Run(t.Context(), append([]string{"--namespace", ns}, test.args...)...)
		switch {
		case test.want == "":
			if err != nil {
				t.Errorf("%s: expected it done, got %v", test.name, err)
			}
		case err == nil || !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: expected a refusal with %q, got %v", test.name, test.want, err)
		}
	}

	after := apiPod(t, ns)
	if !strings.Contains(after.Annotations[intent.AnnotationAuthorization], id(ns, "other")) {
		t.Errorf("the new peer is not in the rules: %s", after.Annotations[intent.AnnotationAuthorization])
	}
	for _, kept := range []string{intent.AnnotationStatus, intent.AnnotationBootstrap, intent.AnnotationClusters} {
		if before.Annotations[kept] != after.Annotations[kept] {
			t.Errorf("annotation %s was changed", kept)
		}
	}
	if before.Labels[intent.LabelIdentity] != after.Labels[intent.LabelIdentity] {
		t.Error("the identity was changed")
	}

	// As a whole, by kubectl replace: what was injected is not in a user's manifest.
	_, err := shared.k.With(t.Context(), manifest(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns))), "replace", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), "Tampered") {
		t.Errorf("replace: expected a refusal, got %v", err)
	}
}

// injectedBy is a pod as it is after injection, without being created.
func injectedBy(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	out, err := shared.k.With(t.Context(), manifest(t, pod), "create", "--dry-run=server", "-o", "json", "-f", "-")
	must(t, err)
	var injected corev1.Pod
	must(t, json.Unmarshal([]byte(out), &injected))
	clean := &corev1.Pod{TypeMeta: injected.TypeMeta, Spec: injected.Spec}
	clean.Name, clean.Namespace, clean.Labels, clean.Annotations = injected.Name, injected.Namespace, injected.Labels, injected.Annotations
	return clean
}

// Nobody comes with an identity, or parts of an injected pod, that he made himself.
func TestReadyMadePods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	injected := injectedBy(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	tests := []struct {
		name   string
		change func(*corev1.Pod) // of a pod that is injected
		want   string            // in the refusal; empty: it is created
	}{
		{"as injection makes it", func(*corev1.Pod) {}, ""},
		{"identity and container, which would be given the SVID", func(p *corev1.Pod) {
			p.Labels = map[string]string{intent.LabelIdentity: p.Labels[intent.LabelIdentity]}
			p.Annotations, p.Spec.InitContainers = nil, nil
			p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == inject.ConfigVolume })
			p.Spec.Containers = []corev1.Container{{Name: "envoy", Image: "another"}}
		}, byPolicy},
		{"identity alone", func(p *corev1.Pod) {
			*p = *neverScheduled(workload{name: "plain"}.pod(ns))
			p.Labels[intent.LabelIdentity] = injected.Labels[intent.LabelIdentity]
		}, byPolicy},
		{"status alone", func(p *corev1.Pod) {
			*p = *neverScheduled(workload{name: "plain"}.pod(ns))
			p.Annotations = map[string]string{intent.AnnotationStatus: injected.Annotations[intent.AnnotationStatus]}
		}, byPolicy},
		{"configuration alone", func(p *corev1.Pod) {
			*p = *neverScheduled(workload{name: "plain"}.pod(ns))
			p.Annotations = map[string]string{intent.AnnotationListeners: "{}"}
		}, byPolicy},
		{"misspelt label", func(p *corev1.Pod) {
			*p = *neverScheduled(workload{name: "plain"}.pod(ns))
			p.Labels[intent.LabelInject] = "enbled"
		}, `expected "enabled" or "disabled", got "enbled"`},
		{"labelled, another's identity", func(p *corev1.Pod) { p.Labels[intent.LabelIdentity] = "stolen" }, "Tampered: label spiffe.io/identity"},
		{"labelled, another image", func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "another" }, "Tampered: container envoy"},
		{"labelled, other rules", func(p *corev1.Pod) { p.Annotations[intent.AnnotationAuthorization] = "{}" }, "Tampered: annotation spiffe.io/envoy-authorization"},
		{"labelled, another agent's socket", func(p *corev1.Pod) {
			for i := range p.Spec.Volumes {
				if p.Spec.Volumes[i].Name == inject.SocketVolume {
					p.Spec.Volumes[i].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
				}
			}
		}, "Tampered: volume spiffe-agent-socket"},
	}
	for i, test := range tests {
		pod := injected.DeepCopy()
		test.change(pod)
		pod.Name = fmt.Sprintf("pod-%d", i)
		_, err := shared.k.With(t.Context(), manifest(t, pod), "create", "-f", "-")
		switch {
		case test.want == "":
			if err != nil {
				t.Errorf("%s: expected it created, got %v", test.name, err)
			}
		case err == nil || !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: expected a refusal with %q, got %v", test.name, test.want, err)
		}
	}
}

// A copy of an injected pod without its label is a pod like any other, as a debugger wants it.
func TestCopyOfInjectedPodIsNotInjected(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	for name, flags := range map[string][]string{"copy": nil, "annotated": {"--keep-annotations"}} {
		k(t, ns, append([]string{"debug", "api", "--copy-to=" + name, "--image=another", "--container=debugger"}, flags...)...)
		var pod corev1.Pod
		must(t, shared.k.Get(t.Context(), &pod, "pod", name, "--namespace", ns))
		var left []string
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			left = append(left, c.Name)
		}
		for _, v := range pod.Spec.Volumes {
			if strings.HasPrefix(v.Name, "spiffe-") {
				left = append(left, v.Name)
			}
		}
		for key := range maps.Keys(pod.Annotations) {
			if strings.HasPrefix(key, "spiffe.io/envoy-") || key == intent.AnnotationStatus {
				left = append(left, key)
			}
		}
		if diff := cmp.Diff([]string{"app", "debugger"}, left); diff != "" || pod.Labels[intent.LabelIdentity] != "" {
			t.Errorf("%s: expected the app and the debugger, and nothing of ours (-want +got):\n%s", name, diff)
		}
	}
}

// A Binding's labels become the pod's.
func TestBindingBringsNoIdentity(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod := neverScheduled(workload{name: "plain"}.pod(ns))
	apply(t, pod)
	for label, want := range map[string]string{intent.LabelIdentity: "cannot bring the labels", "example.org/a": ""} {
		binding := &corev1.Binding{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Binding"},
			ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: ns, Labels: map[string]string{label: "stolen"}},
			Target:     corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: "no-such-node"},
		}
		data, err := json.Marshal(binding)
		must(t, err)
		_, err = shared.k.With(t.Context(), string(data), "create", "--raw", "/api/v1/namespaces/"+ns+"/pods/plain/binding", "-f", "-")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: expected it done, got %v", label, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: expected a refusal with %q, got %v", label, want, err)
		}
	}
}

// Another mutating webhook, which comes after ours, alters what injection made.
func TestAnotherWebhookTampers(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	cases := []struct {
		name, patch string
		operation   admissionregistrationv1.OperationType
		want        string // empty: it may
	}{
		{"image", `[{"op": "replace", "path": "/spec/initContainers/0/image", "value": "another"}]`, admissionregistrationv1.Create, "Tampered: container envoy"},
		{"argument", `[{"op": "add", "path": "/spec/initContainers/0/args/-", "value": "--config-yaml"}]`, admissionregistrationv1.Create, "Tampered: container envoy"},
		{"rules", `[{"op": "replace", "path": "/metadata/annotations/spiffe.io~1envoy-authorization", "value": "{}"}]`, admissionregistrationv1.Create,
			"Tampered: annotation spiffe.io/envoy-authorization"},
		{"unlabel", `[{"op": "remove", "path": "/metadata/labels/spiffe.io~1inject"}]`, admissionregistrationv1.Create, byPolicy},
		{"running", `[{"op": "replace", "path": "/metadata/labels/spiffe.io~1identity", "value": "stolen"}]`, admissionregistrationv1.Update,
			"label spiffe.io/identity is written by the injector alone"},
		// Ours has been asked already, about a change that is none of its business, and is not asked again.
		{"peers", `[{"op": "replace", "path": "/metadata/annotations/spiffe.io~1allowed-peers", "value": "/stranger"}]`, admissionregistrationv1.Update, byValidator},
		{"harmless", `[{"op": "add", "path": "/metadata/labels/example.org~1a", "value": "b"}]`, admissionregistrationv1.Create, ""},
	}
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		// Webhooks are called in the order of their configurations' names.
		ObjectMeta: metav1.ObjectMeta{Name: "zz-" + ns},
	}
	for _, c := range cases {
		tampering := patching(t, ns, c.name, c.patch)
		tampering.Rules = []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{c.operation},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
		}}
		configuration.Webhooks = append(configuration.Webhooks, tampering)
	}
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), "delete", "mutatingwebhookconfiguration", configuration.Name); err != nil {
			t.Error(err)
		}
	})
	apply(t, configuration)

	tampered := func(name string) *corev1.Pod {
		w := api(ns, id(ns, "valid"))
		pod := neverScheduled(w.pod(ns))
		pod.Name, pod.Labels["tampered"] = "tampered-"+name, name
		return pod
	}
	// The API server needs a moment to know a new webhook.
	eventually(t, "the other webhook", func() error {
		out, err := shared.k.With(t.Context(), manifest(t, tampered("harmless")), "create", "--dry-run=server", "-o", "json", "-f", "-")
		if err == nil && !strings.Contains(out, `"example.org/a"`) {
			return fmt.Errorf("not called yet")
		}
		return err
	})
	for _, c := range cases {
		_, err := shared.k.With(t.Context(), manifest(t, tampered(c.name)), "create", "-f", "-")
		if c.operation == admissionregistrationv1.Update {
			must(t, err)
			_, err = shared.k.Run(t.Context(), "--namespace", ns, "label", "pod", "tampered-"+c.name, "example.org/a=b")
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: expected it done, got %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: expected a refusal with %q, got %v", c.name, c.want, err)
		}
	}
}

// patching starts a webhook that answers with a patch, and returns its registration for pods labelled tampered=NAME.
func patching(t *testing.T, ns, name, patch string) admissionregistrationv1.MutatingWebhook {
	t.Helper()
	labels := map[string]string{"app": name}
	pod := corev1.PodSpec{
		Containers: []corev1.Container{container("app", "/podtool", "noop-webhook", "--listen", ":9443", "--namespace", ns, "--name", name, "--patch", "/etc/patch/patch.json")},
		Volumes: []corev1.Volume{{Name: "patch", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}},
		}}},
	}
	pod.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "patch", MountPath: "/etc/patch"}}
	apply(t,
		&corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
			Data: map[string]string{"patch.json": patch}},
		&corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
			Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(9443)}}}},
		&appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
			}},
	)
	rollout(t, ns, "deployment/"+name)
	var block *pem.Block
	eventually(t, "a CA certificate in the log of "+name, func() error {
		log, err := shared.k.Run(t.Context(), "--namespace", ns, "logs", "deployment/"+name)
		if block, _ = pem.Decode([]byte(log)); err == nil && block == nil {
			err = fmt.Errorf("the log is %q", log)
		}
		return err
	})
	return admissionregistrationv1.MutatingWebhook{
		Name: name + ".tampering.example.org", AdmissionReviewVersions: []string{"v1"},
		ClientConfig: admissionregistrationv1.WebhookClientConfig{
			Service:  &admissionregistrationv1.ServiceReference{Namespace: ns, Name: name, Path: new("/mutate-pod")},
			CABundle: pem.EncodeToMemory(block),
		},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}},
		ObjectSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"tampered": name}},
		SideEffects:       new(admissionregistrationv1.SideEffectClassNone),
	}
}

// What the API server can refuse by itself it refuses without the injector, and nobody else notices that it is away.
// Not parallel: it disturbs all tests.
func TestDisruptivePolicyHoldsWithoutInjector(t *testing.T) {
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)), neverScheduled(workload{name: "plain", command: []string{"/podtool", "api"}}.pod(ns)))
	takeInjectorAway(t)

	stolen := neverScheduled(workload{name: "stolen"}.pod(ns))
	stolen.Labels[intent.LabelIdentity] = apiPod(t, ns).Labels[intent.LabelIdentity]
	stolen.Spec.Containers[0].Name = "envoy"
	if message := refused(t, stolen); !strings.Contains(message, byPolicy) {
		t.Errorf("expected a refusal by the policy, got %s", message)
	}
	for name, args := range map[string][]string{
		"identity":                      {"label", "pod", "plain", "spiffe.io/identity=stolen"},
		"status":                        {"annotate", "pod", "plain", "spiffe.io/status={}"},
		"identity by way of the status": {"patch", "pod", "api", "--subresource=status", "--type=merge", "--patch", `{"metadata": {"labels": {"spiffe.io/identity": "stolen"}}}`},
	} {
		_, err := shared.k.Run(t.Context(), append([]string{"--namespace", ns}, args...)...)
		if err == nil || !strings.Contains(err.Error(), byPolicy) {
			t.Errorf("%s: expected a refusal by the policy, got %v", name, err)
		}
	}
	// Who has nothing of ours, and changes nothing of ours, does not wait for us.
	apply(t, neverScheduled(workload{name: "another", command: []string{"/podtool", "api"}}.pod(ns)), api(ns, "not a peer").deployment(ns))
	k(t, ns, "label", "pod", "plain", "example.org/a=b")
	k(t, ns, "annotate", "pod", "api", "example.org/a=b")
	k(t, ns, "set", "image", "pod/api", "app=another")
	k(t, ns, "delete", "pod", "api", "--grace-period=0", "--force")
}

// The validating webhook holds where the policy is not installed, as on older clusters. Not parallel: it disturbs all
// tests.
func TestDisruptiveValidatingWebhookHoldsWithoutPolicy(t *testing.T) {
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)), neverScheduled(workload{name: "plain", command: []string{"/podtool", "api"}}.pod(ns)))
	var all admissionregistrationv1.ValidatingAdmissionPolicyBindingList
	must(t, shared.k.Get(t.Context(), &all, "validatingadmissionpolicybindings"))
	bindings := []string{"patch", "validatingadmissionpolicybinding", "--type", "merge"}
	for _, b := range all.Items {
		if strings.HasPrefix(b.Spec.PolicyName, "spire-injector") &&
			slices.Contains(b.Spec.ValidationActions, admissionregistrationv1.Deny) {
			bindings = append(bindings, b.Name)
		}
	}
	answer := func(ctx context.Context, action string) error {
		_, err := shared.k.Run(ctx, append(bindings, "--patch", fmt.Sprintf(`{"spec": {"validationActions": [%q]}}`, action))...)
		return err
	}
	t.Cleanup(func() {
		if err := answer(context.Background(), "Deny"); err != nil {
			t.Error(err)
		}
	})
	must(t, answer(t.Context(), "Audit"))

	stolen := neverScheduled(workload{name: "stolen"}.pod(ns))
	stolen.Labels[intent.LabelIdentity] = apiPod(t, ns).Labels[intent.LabelIdentity]
	stolen.Spec.Containers[0].Name = "envoy"
	refused := func(what string, attempt func() error) {
		t.Helper()
		// The API server learns of each binding by itself.
		eventually(t, what+": a refusal by the validating webhook", func() error {
			err := attempt()
			if err == nil {
				t.Fatalf("%s: expected a refusal, and it was done", what)
			}
			if !strings.Contains(err.Error(), byValidator) {
				return err
			}
			return nil
		})
	}
	refused("creation", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, stolen), "create", "-f", "-")
		return err
	})
	for name, args := range map[string][]string{
		"identity": {"label", "pod", "plain", "spiffe.io/identity=stolen"},
		"status":   {"annotate", "pod", "plain", "spiffe.io/status={}"},
		"rules":    {"annotate", "pod", "plain", "spiffe.io/envoy-authorization={}"},
	} {
		refused(name, func() error {
			_, err := shared.k.Run(t.Context(), append([]string{"--namespace", ns}, args...)...)
			return err
		})
	}
}
