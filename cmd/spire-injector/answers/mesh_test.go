package answers

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// like is a pod as another one, with another name and label of its own.
func like(pod Pod, name string) Pod {
	out := pod.DeepCopy()
	out.Name = name
	out.Labels["statefulset.kubernetes.io/pod-name"] = name
	return Pod{Pod: out, Config: pod.Config}
}

// Replicas of a StatefulSet have labels of their own, and are alike all the same; a Service may select one of them.
func TestReplicasWithLabelsOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	f.Pods = []Pod{like(f.Pods[0], "db-0"), like(f.Pods[0], "db-1")}
	f.Services = []corev1.Service{{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.Pods[0].Namespace, Name: "second"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"statefulset.kubernetes.io/pod-name": "db-1"}, Ports: []corev1.ServicePort{{Port: 8443}}},
	}}
	m := NewMesh(f)
	g := m.byPod[f.Pods[0].Namespace+"/db-0"]
	if g == nil || len(g.Pods) != 2 || len(g.Of.Groups) != 1 {
		t.Fatalf("expected one group of two pods, got %+v", g)
	}
	if selected := m.selected(&f.Services[0]); len(selected) != 1 || selected[0] != g {
		t.Errorf("got %+v", selected)
	}
}

// A workload on its way from one template to the next has two kinds of pods, and each is said of its own.
func TestPodsThatDiffer(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	old := f.Pods[0].DeepCopy()
	old.Name = "older"
	old.Annotations["spiffe.io/allowed-peers"] = "/before"
	f.Pods = append(f.Pods, Pod{Pod: old, Config: "0123456789abcdef"})
	m := NewMesh(f)
	list := m.List(old.Namespace)
	if len(list.Workloads) != 2 {
		t.Errorf("expected two rows, got %+v", list.Workloads)
	}
	e, err := m.Explain(old.Namespace+"/api", "")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"1 pod (older)", "/before (nobody here)", "/web (nobody here)"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("expected %q, got\n%s", part, out.String())
		}
	}
}

// A running pod keeps the identity that it was injected with, whatever the platform would give it now.
func TestIdentityOfRunningPod(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	before := f.Pods[0].DeepCopy()
	before.Annotations["spiffe.io/status"] = strings.ReplaceAll(before.Annotations["spiffe.io/status"], "/sa/default", "/sa/before")
	f.Pods[0].Pod = before
	g := NewMesh(f).byPod[before.Namespace+"/"+before.Name]
	if want := "spiffe://example.org/ns/" + before.Namespace + "/sa/before"; g.ID.String() != want || g.Intent.ID.String() != want {
		t.Errorf("expected %s, got %s and %s", want, g.ID, g.Intent.ID)
	}
}

// Who is quarantined is let in by nobody and taken for nobody, whatever the lists say.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/shop.txtar")
	if err != nil {
		t.Fatal(err)
	}
	f := gathered(t, live(t, string(archive.Files[0].Data)))
	for id, check := range map[string]string{"/ns/shop/web": checkPeers, "/ns/shop/api": checkID} {
		p, err := intent.ParsePlatform([]byte(strings.Replace(platformFile, "/ns/shop/stolen", id, 1)))
		if err != nil {
			t.Fatal(err)
		}
		f.Platform = &p
		e, err := NewMesh(f).ExplainCall("shop/web", "shop/api", "", Request{})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(e.Steps, func(s Step) bool { return s.Check == check })
		if e.Passes || at < 0 || e.Steps[at].Status != Fails || !strings.HasPrefix(e.Steps[at].Found, id+" is quarantined") {
			t.Errorf("%s: got %+v", id, e.Steps)
		}
	}
}

// A request is let in by a method and a path of one rule, compared as Envoy compares them.
func TestRequest(t *testing.T) {
	t.Parallel()
	parse := func(s string) ir.Path {
		p, err := ir.ParsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	rule := ir.Rule{Methods: []string{"GET", "HEAD"}, Paths: []ir.Path{parse("/healthz"), parse("/v1/*")}}
	for request, want := range map[string]bool{
		"GET /healthz": true, "HEAD /v1/users?x=1": true, "GET /v1/": true, "GET /v1": false, "GET /healthz/": false,
		"GET /v1x": false, "POST /healthz": false,
	} {
		r, err := ParseRequest(request)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.matches(rule); got != want {
			t.Errorf("%s: expected %v, got %v", request, want, got)
		}
	}
}
