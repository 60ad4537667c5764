package check

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// add puts objects on the cluster.
func (c *cluster) add(t *testing.T, objects ...runtime.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.Tracker().Add(object); err != nil {
			t.Fatal(err)
		}
	}
}

// A replica that is not ready says what it lacks.
func TestUnreadyReplica(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.pages["late:8081/readyz"] = "[+]webhook ok\n[-]identity failed: reason withheld\n[-]certificate failed: reason withheld\nreadyz check failed\n"
	late := pod("spire-injector", "late", map[string]string{"app.kubernetes.io/name": "spire-injector"})
	late.Status.Conditions[0].Status = corev1.ConditionFalse
	c.add(t, late)
	findings := Judge(c.gather(t))
	if !has(findings, "replicas", Warning, "late: it is not ready: identity, certificate") {
		t.Errorf("got %+v", findings)
	}
	if has(findings, "replicas", Error, "metrics") {
		t.Errorf("expected nothing of the metrics of a replica that is not ready: %+v", findings)
	}
}

// A replica that ends is none any more.
func TestEndingReplica(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	ending := pod("spire-injector", "ending", map[string]string{"app.kubernetes.io/name": "spire-injector"})
	ending.DeletionTimestamp = &metav1.Time{Time: now()}
	c.add(t, ending)
	if f := c.gather(t); len(f.Replicas) != 2 {
		t.Errorf("expected two replicas, got %+v", f.Replicas)
	}
}

// Nothing is created by the trial, and a user without the right to create pods is told so.
func TestTrial(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.gather(t)
	tried := 0
	for _, action := range c.Actions() {
		switch action.GetVerb() {
		case "get", "list":
		case "create":
			options := action.(clienttesting.CreateActionImpl).GetCreateOptions()
			if tried++; action.GetNamespace() != "default" || len(options.DryRun) != 1 || options.DryRun[0] != "All" {
				t.Errorf("expected a dry run in default, got %+v", action)
			}
		default:
			t.Errorf("expected to read, got %+v", action)
		}
	}
	if tried != 1 {
		t.Errorf("expected one pod to be tried, got %d", tried)
	}
	c.answers(`User "jane" cannot create resource "pods"`)
	if err := c.gather(t).Unread[SourceTrial]; err == nil {
		t.Error("expected a user without rights to be told")
	}
}

// A failing read is told, and the others go on.
func TestGatherGoesOn(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.PrependReactor("list", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no rights")
	})
	f := c.gather(t)
	if len(f.Unread) != 1 || f.Unread[SourceWorkloads] == nil || f.Injector == nil || len(f.Policies) == 0 {
		t.Errorf("got %v", f.Unread)
	}
}

// Before it is installed, the check says what is missing and nothing about what follows from that.
func TestBeforeInstallation(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	if err := c.Tracker().Delete(appsv1.SchemeGroupVersion.WithResource("deployments"), "spire-injector", "spire-injector"); err != nil {
		t.Fatal(err)
	}
	r := NewReport(Judge(c.gather(t)))
	if r.Errors != 1 || r.Warnings != 0 || !has(r.Findings, "replicas", Error, "there is none") {
		t.Errorf("got %+v", r.Findings)
	}
}

// SPIRE under other images is found by its labels in its own namespace, and nowhere else.
func TestSPIREByLabels(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	agents, err := c.AppsV1().DaemonSets("spire").Get(t.Context(), "spire-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	agents.Spec.Template.Spec.Containers[0].Image = "registry.example.org/agent:1"
	if err := c.Tracker().Update(appsv1.SchemeGroupVersion.WithResource("daemonsets"), agents, "spire"); err != nil {
		t.Fatal(err)
	}
	elsewhere := agents.DeepCopy()
	elsewhere.Namespace = "other"
	c.add(t, elsewhere)
	f := c.gather(t)
	if len(f.Agents) != 1 || f.Agents[0].Namespace != "spire" || f.Agents[0].Config.Text == "" ||
		!f.agentNodes()["node-1"] {
		t.Errorf("got %+v on %v", f.Agents, f.AgentPods)
	}
}

// Of an injected pod that has ended nothing is kept, and of one that runs not its configuration.
func TestInjectedPods(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	ended := injected(t, 8080)
	ended.Name, ended.Status.Phase = "ended", corev1.PodSucceeded
	c.add(t, injected(t, 8080), ended,
		pod("shop", "other", nil, corev1.Container{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}))
	f := c.gather(t)
	if f.Injected != 1 || len(f.Declaring) != 1 {
		t.Fatalf("expected one pod, got %d and %d", f.Injected, len(f.Declaring))
	}
	if text := f.Declaring[0].Annotations["spiffe.io/envoy-listeners"]; text != "" {
		t.Errorf("expected no configuration, got %s", text)
	}
	if findings := Judge(f); !has(findings, "app-ports", Warning,
		"declares port 8080, to which Envoy forwards, in 1 pod") {
		t.Errorf("got %+v", findings)
	}
}

// Long lists are read in pages, to their end.
func TestListsByPages(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.PrependReactor("list", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		list := &corev1.NamespaceList{}
		switch o := action.(clienttesting.ListActionImpl).ListOptions; o.Continue {
		case "":
			list.Continue, list.Items = "second", []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}}
		case "second":
			list.Items = []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "b"}}}
		default:
			t.Errorf("asked for the page %s", o.Continue)
		}
		return true, list, nil
	})
	if got := c.gather(t).namespaceNames(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("expected both pages, got %v", got)
	}
	long := []string{"namespaces", "nodes", "deployments", "statefulsets", "daemonsets"}
	for _, action := range c.Actions() {
		if list, ok := action.(clienttesting.ListActionImpl); ok && slices.Contains(long, action.GetResource().Resource) &&
			list.ListOptions.Limit != page {
			t.Errorf("%s are read %d at a time, want %d", action.GetResource().Resource, list.ListOptions.Limit, page)
		}
	}
}

// A policy that only warns denies nothing, and a binding without its policy is none.
func TestPolicies(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	bindings, err := c.AdmissionregistrationV1().
		ValidatingAdmissionPolicyBindings().
		List(t.Context(), metav1.ListOptions{})
	if err != nil || len(bindings.Items) < 2 {
		t.Fatalf("got %d bindings, %v", len(bindings.Items), err)
	}
	before := c.gather(t).Policies
	warns, lost := bindings.Items[0], bindings.Items[1]
	warns.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{
		admissionregistrationv1.Warn,
		admissionregistrationv1.Audit,
	}
	gvr := admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings")
	if err := c.Tracker().Update(gvr, &warns, ""); err != nil {
		t.Fatal(err)
	}
	lost.Name, lost.Spec.PolicyName = "lost", "missing"
	c.add(t, &lost)
	want := maps.Clone(before)
	want[warns.Spec.PolicyName] = slices.DeleteFunc(slices.Clone(want[warns.Spec.PolicyName]), func(b string) bool { return b == warns.Name })
	if diff := cmp.Diff(want, c.gather(t).Policies, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("policies and those that have them deny (-want +got):\n%s", diff)
	}
}

// The check knows every binding of the manifests, of those that deny and of those that warn.
func TestEachBindingIsChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of      func(Facts) map[string][]string
		atLeast int
	}{
		{func(f Facts) map[string][]string { return f.Policies }, 6},
		{func(f Facts) map[string][]string { return f.Warning }, 3},
	} {
		all := tt.of(healthy(t).gather(t))
		if len(all) < tt.atLeast {
			t.Errorf("expected %d policies or more, got %v", tt.atLeast, all)
		}
		for policy, bindings := range all {
			for _, b := range bindings {
				f := healthy(t).gather(t)
				tt.of(f)[policy] = slices.DeleteFunc(tt.of(f)[policy], func(other string) bool { return other == b })
				got := policies(f)
				if len(got) != 1 || got[0].Where != "ValidatingAdmissionPolicyBinding "+b {
					t.Errorf("without the binding %s: expected a finding about it, got %+v", b, got)
				}
			}
		}
	}
}

// Who removes a policy that guards pods loses something, and with the others words alone.
func TestEachPolicyIsChecked(t *testing.T) {
	t.Parallel()
	for policy := range healthy(t).gather(t).Policies {
		f := healthy(t).gather(t)
		delete(f.Policies, policy)
		want := Error
		if slices.Contains([]string{"spire-injector-template-labels", "spire-injector-misplaced", "spire-injector-excluded",
			"spire-injector-namespaces"}, policy) {
			want = Warning
		}
		if got := policies(f); len(got) != 1 || got[0].Where != "ValidatingAdmissionPolicy "+policy || got[0].Status != want {
			t.Errorf("without the policy %s: expected %s, got %+v", policy, want, got)
		}
	}
}
