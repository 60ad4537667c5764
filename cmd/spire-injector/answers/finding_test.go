package answers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// found are the findings of one check.
func found(m *Mesh, check string) string {
	var out []string
	for _, f := range m.Findings() {
		if f.Check == check {
			out = append(out, fmt.Sprintf("%s: %s: %s; %s", f.Severity, f.Where, f.Found, f.Remedy))
		}
	}
	return strings.Join(out, "\n")
}

// An app that does not listen is named with its port and where that was written.
func TestFindSilentApps(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	for i := range f.Pods {
		f.Pods[i].Status.Conditions = nil
	}
	f.Told = map[string]Told{f.Pods[0].key(): {Ports: new(true), Apps: new(false)}, f.Pods[1].key(): {Ports: new(true), Apps: new(true)}}
	want := "error: Deployment " + f.Pods[0].Namespace + "/api: nothing listens on 127.0.0.1:8080 in container api (annotation spiffe.io/app-port), in 1 pod: " +
		f.Pods[0].Name + "; let the app listen there"
	if got := found(NewMesh(f), "app-listens"); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("expected %s, got %s", want, got)
	}
	if n := len(f.Unready()); n != 2 {
		t.Errorf("expected both pods to be asked, got %d", n)
	}
	f.Told = nil
	if got := found(NewMesh(f), "app-listens"); got != "ok: : 0 of 2 pods that are not ready said whether their app listens; " {
		t.Errorf("got %s", got)
	}
}

// SVIDs that nobody renews are told with the agent that should.
func TestFindExpiring(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	f.At = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	pod := f.Pods[0]
	pod.Spec.NodeName = "node1"
	of := func(left time.Duration) string {
		f.Told = map[string]Told{pod.key(): {AskedSVID: true, SVID: &SVID{ID: "spiffe://example.org/x", From: f.At.Add(left - time.Hour), Until: f.At.Add(left)}}}
		return found(NewMesh(f), "workload-svids")
	}
	if got := of(30 * time.Minute); got != "ok: : 1 of 2 Envoys asked, on each node some: their SVIDs are valid; " {
		t.Errorf("got %s", got)
	}
	if got := of(10 * time.Minute); !strings.HasPrefix(got, "warning: ") || !strings.Contains(got, "'s SVID expires in 10m, of 60m, and is not renewed") {
		t.Errorf("got %s", got)
	}
	if got := of(-27 * time.Second); !strings.Contains(got, "no SPIRE agent is found on node1, or on another node; "+pod.key()+"'s SVID expired 27s ago") {
		t.Errorf("got %s", got)
	}
	f.Agents = map[string]Agent{"node2": {Ready: true}}
	if got := of(-27 * time.Second); !strings.Contains(got, "no SPIRE agent runs on node1; "+pod.key()+"'s SVID expired 27s ago; bring the agent back") {
		t.Errorf("got %s", got)
	}
	f.Agents["node1"] = Agent{Pod: "spire/agent-1", Since: f.At}
	f.Told = map[string]Told{pod.key(): {AskedSVID: true}}
	if got := found(NewMesh(f), "workload-svids"); !strings.Contains(got, "SPIRE's agent spire/agent-1 on node1 is not ready since 12:00:00; "+pod.key()+" has no SVID") {
		t.Errorf("got %s", got)
	}
}

// A pod that waits on a node without an agent waits for it, whatever else is not ready.
func TestExplainWithoutAgent(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	pod := f.Pods[0]
	pod.Spec.NodeName, pod.Status.Conditions = "node1", nil
	for _, test := range []struct {
		phase  corev1.PodPhase
		agents map[string]Agent
		waits  bool
	}{
		{corev1.PodPending, map[string]Agent{"node2": {Ready: true}}, true},
		{corev1.PodPending, map[string]Agent{"node1": {Ready: true}}, false},
		{corev1.PodRunning, map[string]Agent{"node2": {Ready: true}}, false},
	} {
		pod.Status.Phase, f.Agents = test.phase, test.agents
		e, err := NewMesh(f).Explain(pod.key(), "")
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(e.Steps, func(s Step) bool { return s.Check == checkReady })
		want := Reason{"1 of 1 pod not ready: " + pod.Name, "kubectl -n " + pod.Namespace + " describe pod " + pod.Name}
		if test.waits {
			want = Reason{"no SPIRE agent runs on node1; " + want.Found, bringBack}
		}
		if at < 0 || e.Steps[at].Status != Fails || e.Steps[at].Reason != want {
			t.Errorf("%s: expected %+v, got %+v", test.phase, want, e.Steps)
		}
	}
}

// Agents are found by their image, and one that is ready counts.
func TestAgents(t *testing.T) {
	t.Parallel()
	agent := func(name, image string, ready corev1.ConditionStatus, args ...string) *corev1.Pod {
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name, pod.Spec.NodeName = "spire", name, "node1"
		pod.Spec.Containers = []corev1.Container{{Name: "c", Image: image, Command: args}}
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
		return pod
	}
	var f Facts
	f.addAgent(agent("other", "registry:5000/spire-server:1.15.3", corev1.ConditionTrue))
	f.addAgent(agent("caller", "spire-agent:1.15.3", corev1.ConditionTrue, "spire-agent", "api", "fetch"))
	if len(f.Agents) != 0 {
		t.Errorf("got %+v", f.Agents)
	}
	f.addAgent(agent("one", "registry:5000/spire-agent@sha256:1", corev1.ConditionFalse))
	f.addAgent(agent("two", "spire-agent:1.15.3", corev1.ConditionTrue))
	f.addAgent(agent("three", "spire-agent", corev1.ConditionFalse))
	if a := f.Agents["node1"]; a.Pod != "spire/two" || !a.Ready {
		t.Errorf("got %+v", a)
	}
}

// Of many pods some of each node are asked.
func TestOfEachNode(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	pod := f.Pods[0]
	f.Pods = nil
	for i := range 3 * mostAsked {
		other := pod.DeepCopy()
		other.Name, other.Spec.NodeName = fmt.Sprint(i), "crowded"
		if i >= 3*mostAsked-2 {
			other.Spec.NodeName = "last"
		}
		f.Pods = append(f.Pods, Pod{Pod: other, Config: pod.Config})
	}
	asked := f.OfEachNode()
	last := 0
	for _, p := range asked {
		if p.Spec.NodeName == "last" {
			last++
		}
	}
	if len(asked) != mostAsked || last != 2 {
		t.Errorf("expected %d pods, 2 of the last node, got %d, %d", mostAsked, len(asked), last)
	}
}

// What is left of a namespace that is being deleted is no finding.
func TestEndingNamespaces(t *testing.T) {
	t.Parallel()
	manifests := strings.Replace(twoNamespaces, "metadata: {name: shop}", "metadata: {name: shop}\nstatus: {phase: Terminating}", 1)
	f := gathered(t, live(t, manifests)).Lasting()
	if len(f.Pods) != 1 || f.Pods[0].Namespace != "other" || len(f.Templates) != 1 || len(f.Namespaces) != 1 {
		t.Errorf("expected namespace other alone, got %+v", f)
	}
}

// One kind of mistake of hundreds of workloads does not hide the others.
func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	pod := f.Pods[0]
	for i := range 3 * mostFindings {
		other := pod.DeepCopy()
		other.Name, other.OwnerReferences = fmt.Sprint("w", i), nil
		f.Pods = append(f.Pods, Pod{Pod: other, Config: pod.Config, Altered: "container envoy, command"})
	}
	got := found(NewMesh(f), "altered")
	if n := strings.Count(got, "\n") + 1; n != mostFindings+1 || !strings.Contains(got, "40 more of that kind are not listed") {
		t.Errorf("got %d findings: %s", n, got)
	}
}

// What cannot be supposed is said before anything is read.
func TestParseSupposition(t *testing.T) {
	t.Parallel()
	for text, part := range map[string]string{
		"legacy": "expected NAMESPACE=VALUE", "=required": "expected NAMESPACE=VALUE", "legacy=require": `did you mean "required"?`,
	} {
		if _, err := ParseSupposition(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: expected %q, got %v", text, part, err)
		}
	}
	m := NewMesh(gathered(t, live(t, twoNamespaces)))
	if _, err := m.Suppose([]Supposition{{"shap", "required"}}); err == nil || !strings.Contains(err.Error(), `did you mean "shop"?`) {
		t.Errorf("got %v", err)
	}
}

// What the next pod's configuration would take is told by what running pods have, and where that is close it is made.
func TestFindTooLarge(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	const most = 256 << 10 // that the API server takes of annotations
	at := slices.IndexFunc(f.Pods, func(p Pod) bool { return p.Namespace == f.Templates[0].Namespace })
	written := f.Pods[at].written
	of := func(filler int) string {
		template := &f.Templates[0]
		template.Pod = template.Pod.DeepCopy()
		template.Pod.Annotations["example.org/filler"] = strings.Repeat("x", filler)
		return found(NewMesh(f), "next-pods")
	}
	for _, filler := range []int{0, most - 3*written, most - written - 1000} {
		if got := of(filler); got != "ok: : no workload's next pod would be denied; " {
			t.Errorf("%d bytes beside %d: got %s", filler, written, got)
		}
	}
	if got := of(most - written); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, "annotations: expected at most 262144 bytes together with") {
		t.Errorf("got %s", got)
	}
	supposed, err := NewMesh(f).Suppose([]Supposition{{f.Templates[0].Namespace, intent.InjectEnabled}})
	if err != nil || len(supposed) != 1 || !strings.Contains(supposed[0].Found, "denied today too: annotations: expected at most 262144 bytes") {
		t.Errorf("got %+v, %v", supposed, err)
	}
}

// Pods that a Service came after speak what they were injected with, until there are new ones.
func TestFindProtocols(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	before := found(NewMesh(f), "services")
	pod := f.Pods[0]
	says := "grpc"
	f.Services = append(f.Services, corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "late"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "api"},
			Ports:    []corev1.ServicePort{{Port: 8443, AppProtocol: &says}},
		},
	})
	want := "warning: Deployment " + pod.Namespace + "/api: Envoy speaks http to port 8080 of the app, and in new pods it will speak grpc"
	if got := found(NewMesh(f), "services"); !strings.Contains(got, want) || strings.Contains(before, "in new pods") {
		t.Errorf("expected %s, got %s, and before the Service %s", want, got, before)
	}
	for _, p := range f.Pods {
		p.Annotations[intent.AnnotationInbound] = `[{listen: 8443, app: 8080, peers: [/ns/a/web]}]`
		delete(p.Annotations, intent.AnnotationAppPort)
	}
	if got := found(NewMesh(f), "services"); strings.Contains(got, "in new pods") {
		t.Errorf("what inbound says is found by nobody else, got %s", got)
	}
}

// What is captured comes to Envoy by the app's own port.
func TestFindServicesOfCapturedPods(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	const past = "past the Envoy of Deployment "
	pod := f.Pods[0]
	f.Services = append(f.Services, corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "direct"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "api"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	})
	if got := found(NewMesh(f), "services"); !strings.Contains(got, "Service "+pod.Namespace+"/direct: 80 → 8080, "+past) {
		t.Errorf("expected a Service that leads past Envoy to be found, got %s", got)
	}
	for _, p := range f.Pods {
		p.Annotations[intent.AnnotationCapture] = "inbound"
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
	}
	if got := found(NewMesh(f), "services"); strings.Contains(got, past) {
		t.Errorf("expected nothing of captured pods, got %s", got)
	}
}
