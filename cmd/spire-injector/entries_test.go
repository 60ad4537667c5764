package main

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/entries"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const platformOfEntries = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
sidecar: {image: envoy}
`

// What is registered for a pod, for what is kept of it in memory and for its template is one identity, by the rules of
// admission.
func TestRulesOfEntries(t *testing.T) {
	p, err := intent.ParsePlatform([]byte(platformOfEntries))
	if err != nil {
		t.Fatal(err)
	}
	i := inject.Injector{Platform: p}
	template := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{intent.LabelInject: intent.InjectEnabled},
			Annotations: map[string]string{intent.AnnotationAppPort: "8080"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	// The namespace's annotation is what makes the template whole.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo", Annotations: map[string]string{intent.AnnotationAllowedPeers: "/web"}}}
	injected, err := i.Inject(namespaceOf(ns), template)
	if err != nil {
		t.Fatal(err)
	}
	watched, err := entries.Watched(inject.Trim)
	if err != nil {
		t.Fatal(err)
	}
	kept := injected.Pod
	for object, by := range watched {
		if _, isPod := object.(*corev1.Pod); !isPod {
			continue
		}
		trimmed, err := by.Transform(injected.Pod)
		if err != nil {
			t.Fatal(err)
		}
		kept = trimmed.(*corev1.Pod)
		if before, after := injected.Pod.Size(), kept.Size(); after > before/10 {
			t.Errorf("%d of %d bytes of a pod are kept in memory", after, before)
		}
	}
	rules := rulesOf(func() inject.Injector { return i }, fake.NewClientBuilder().Build(), "spire-injector")
	want := p.Cluster.WorkloadEntry(injected.Workloads[0]).ID
	for of, needs := range map[string]func() []string{
		"the pod":                 func() []string { return entryIDs(p, rules.NeedsOfPod(ns, injected.Pod).Workloads) },
		"what is kept of the pod": func() []string { return entryIDs(p, rules.NeedsOfPod(ns, kept).Workloads) },
		"the template":            func() []string { return entryIDs(p, rules.NeedsOfTemplate(ns, template).Workloads) },
	} {
		if got := needs(); len(got) != 1 || got[0] != want {
			t.Errorf("%s needs entries %v, want %s", of, got, want)
		}
	}
}

// Whose the pods of a namespace are is not known without the webhook configuration, and the error says what to do.
func TestServedNeedsTheWebhookConfiguration(t *testing.T) {
	_, err := rulesOf(nil, fake.NewClientBuilder().Build(), "spire-injector").Served(t.Context())
	wantError(t, err, "MutatingWebhookConfiguration spire-injector", "--webhook-configuration")

	cached := fake.NewClientBuilder().WithObjects(&admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "spire-injector"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:              "pods.spiffe.io",
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}},
		}},
	}).Build()
	served, err := rulesOf(nil, cached, "spire-injector").Served(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !served(map[string]string{"team": "a"}) || served(map[string]string{"team": "b"}) {
		t.Error("served differs from the configuration's namespaceSelector")
	}
}

func entryIDs(p intent.Platform, workloads []registrar.Workload) []string {
	var all []string
	for _, w := range workloads {
		all = append(all, p.Cluster.WorkloadEntry(w).ID)
	}
	return all
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
}
