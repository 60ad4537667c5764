package check

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// requires has a namespace require injection, when its pods are there already.
func (c *cluster) requires(t *testing.T, namespace string) {
	t.Helper()
	ns, err := c.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ns.Labels[intent.LabelInject] = intent.InjectRequired
	if _, err := c.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// owned is a pod of a ReplicaSet.
func owned(pod *corev1.Pod, replicaSet, name string) *corev1.Pod {
	pod.Name = name
	pod.OwnerReferences = []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSet, UID: "1", Controller: new(true)},
	}
	return pod
}

// Pods that run in a namespace which came to require mutual TLS are told by who made them, with what to do.
func TestRequiredLater(t *testing.T) {
	t.Parallel()
	app := corev1.Container{Name: "app", Image: "app"}
	permissive := func(name string) *corev1.Pod {
		pod := owned(injected(t), "permissive", name)
		delete(pod.Annotations, intent.AnnotationAppPort)
		pod.Annotations[intent.AnnotationInbound] = "[{listen: 8443, app: 8080, tls: permissive}]"
		return pod
	}
	ended := owned(pod("shop", "", nil, app), "plain", "ended")
	ended.Status.Phase = corev1.PodSucceeded
	c := healthy(t)
	c.add(t,
		owned(injected(t), "api", "api-1"),
		permissive("permissive-1"), permissive("permissive-2"),
		owned(pod("shop", "", nil, app), "plain", "plain-1"), owned(pod("shop", "", nil, app), "plain", "plain-2"),
		owned(pod("shop", "", map[string]string{intent.LabelInject: intent.InjectDisabled}, app), "out", "out-1"),
		ended,
		pod("default", "elsewhere", nil, app),
	)
	if findings := Judge(c.gather(t)); !has(findings, "required", OK, "0 pods in namespaces that require") {
		t.Errorf("before the label: got %+v", findings)
	}
	c.requires(t, "shop")
	got := map[string]Finding{}
	for _, finding := range Judge(c.gather(t)) {
		if finding.Check == "required" {
			got[finding.Where] = finding
		}
	}
	for where, want := range map[string][2]string{
		"ReplicaSet shop/permissive": {
			"running without the mutual TLS that their namespace requires: 2 pods: annotation spiffe.io/inbound[0].tls: ",
			"write mutual, or ask the platform team to add permissive to required.allow; then make it anew",
		},
		"ReplicaSet shop/plain": {
			"running without the mutual TLS that their namespace requires: 2 pods: not injected",
			"kubectl rollout restart",
		},
		"ReplicaSet shop/out": {
			"running without the mutual TLS that their namespace requires: 1 pod: not injected",
			"take the label spiffe.io/inject: disabled off its template",
		},
	} {
		finding, is := got[where]
		if !is || finding.Status != Warning || !strings.HasPrefix(finding.Found, want[0]) ||
			!strings.Contains(finding.Remedy, want[1]) {
			t.Errorf("%s: expected a warning with %q, got %+v", where, want, finding)
		}
	}
	if len(got) != 3 {
		t.Errorf("expected three findings, got %+v", got)
	}
	f := c.gather(t)
	for _, r := range f.Required {
		if r.Pod.Annotations[intent.AnnotationListeners] != "" || r.Pod.ManagedFields != nil {
			t.Errorf("of %s is kept what was generated", r.Pod.Name)
		}
	}
	f.Platform.Text = strings.Replace(f.Platform.Text, "\nspire:", "\nrequired: {allow: [permissive]}\nspire:", 1)
	if findings := Judge(f); has(findings, "required", Warning, "spiffe.io/inbound") {
		t.Errorf("what the platform allows is told: %+v", findings)
	}
}

// However many pods fall short, the report stays one that people read, and says how many there are.
func TestRequiredOfManyPods(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	for number := range mostShortfalls + 5 {
		c.add(t, owned(pod("shop", "", nil), fmt.Sprintf("set-%02d", number), fmt.Sprintf("pod-%02d", number)))
	}
	c.requires(t, "shop")
	findings := Judge(c.gather(t))
	if !has(findings, "required", Warning, "5 findings of that kind more than are listed; 25 of 25 pods fall short in all") {
		t.Errorf("got %+v", findings)
	}
	if r := NewReport(findings); r.Warnings != mostShortfalls+1 {
		t.Errorf("expected %d warnings, got %d", mostShortfalls+1, r.Warnings)
	}
}

// A namespace that the webhooks leave out gets no sidecars, whatever its label says.
func TestRequiredOfExcludedNamespace(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.add(t, pod("kube-system", "dns", nil))
	c.requires(t, "kube-system")
	findings := Judge(c.gather(t))
	if !has(findings, "required", Warning, "namespaceSelectors leave the namespace out") {
		t.Errorf("got %+v", findings)
	}
}
