package answers

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const twoNamespaces = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}}
    spec: {containers: [{name: api, image: api}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: other}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}}
    spec: {containers: [{name: api, image: api}]}`

// forbid has the API server deny lists of some resources, in all namespaces or but for one.
func forbid(c *fake.Clientset, butIn string, resources ...string) {
	for _, resource := range resources {
		c.PrependReactor("list", resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
			if action.GetNamespace() == butIn && butIn != "" {
				return false, nil, nil
			}
			return true, nil, apierrors.NewForbidden(corev1.Resource(resource), "", errors.New("jane may not"))
		})
	}
}

// A reader without rights to all namespaces gets the one that is named, and is told so.
func TestOneNamespaceForLackOfRights(t *testing.T) {
	t.Parallel()
	c := live(t, twoNamespaces)
	forbid(c, "shop", "pods", "services", "endpointslices", "namespaces", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs")
	f := Facts{Platform: platform(t)}
	Gatherer{Client: c, Namespace: "shop"}.Gather(t.Context(), &f)
	if len(f.Unread) > 0 || len(f.Pods) != 1 || f.Pods[0].Namespace != "shop" || f.Platform == nil {
		t.Errorf("expected the pod of shop, got %+v", f)
	}
	if gaps := strings.Join(f.Gaps(), "\n"); !strings.Contains(gaps, "only namespace shop was read") {
		t.Errorf("got %q", gaps)
	}
}

// Only the namespace that is asked about is read, where no other is of use.
func TestOneNamespaceAlone(t *testing.T) {
	t.Parallel()
	c := live(t, twoNamespaces)
	f := Facts{}
	Gatherer{Client: c, Namespace: "shop", Only: true}.Gather(t.Context(), &f)
	for _, action := range c.Actions() {
		if ns := action.GetNamespace(); ns != "shop" && action.GetResource().Resource != "namespaces" {
			t.Errorf("expected shop alone to be read, got %+v", action)
		}
		if verb := action.GetVerb(); verb != "get" && verb != "list" {
			t.Errorf("expected to read, got %s", verb)
		}
	}
}

// What may not be read is named, with what that leaves open, and the rest is answered.
func TestUnreadSources(t *testing.T) {
	t.Parallel()
	c := live(t, twoNamespaces)
	forbid(c, "", "services", "deployments", "jobs")
	f := Facts{Platform: platform(t)}
	Gatherer{Client: c}.Gather(t.Context(), &f)
	list := NewMesh(f).List("")
	if len(list.Workloads) != 2 || list.Workloads[0].SPIFFEID != "spiffe://example.org/ns/other/sa/default" {
		t.Errorf("got %+v", list.Workloads)
	}
	gaps := strings.Join(list.Gaps, "\n")
	for _, part := range []string{"Services could not be read: services is forbidden: jane may not: where addresses lead is not known", "workloads could not be read"} {
		if !strings.Contains(gaps, part) {
			t.Errorf("expected %q, got %q", part, gaps)
		}
	}
}

// Without the platform file what the pods' own status says is listed.
func TestWithoutPlatformFile(t *testing.T) {
	t.Parallel()
	f := gathered(t, live(t, twoNamespaces))
	f.Platform = nil
	f.Unread[SourcePlatform] = errors.New("there is no Deployment spire-injector/spire-injector")
	list := NewMesh(f).List("shop")
	if len(list.Workloads) != 1 || list.Workloads[0].Mode != "sidecar" || list.Workloads[0].SPIFFEID == "" || list.Workloads[0].Listeners != nil {
		t.Errorf("got %+v", list.Workloads)
	}
	var out strings.Builder
	if err := list.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "the platform file could not be read: there is no Deployment") ||
		!strings.Contains(out.String(), "spiffe://example.org/ns/shop/sa/default") {
		t.Errorf("got %s", out.String())
	}
}

// A cluster whose pods may not be read is no cluster without workloads, and a namespace that is not there has none.
func TestUsable(t *testing.T) {
	t.Parallel()
	c := live(t, twoNamespaces)
	ask := func(g Gatherer, namespace string) string {
		var f Facts
		g.Client = c
		g.Gather(t.Context(), &f)
		if err := f.Usable(namespace); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, namespace := range []string{"", "shop"} {
		if got := ask(Gatherer{}, namespace); got != "" {
			t.Errorf("%q: got %s", namespace, got)
		}
	}
	const want = `there is no namespace shap; did you mean "shop"?`
	if got := ask(Gatherer{}, "shap"); got != want {
		t.Errorf("expected %s, got %s", want, got)
	}
	if got := ask(Gatherer{Namespace: "shap", Only: true}, "shap"); got != "there is no namespace shap" {
		t.Errorf("got %s", got)
	}
	forbid(c, "", "pods")
	if got := ask(Gatherer{}, ""); !strings.Contains(got, "reading pods: pods is forbidden: jane may not; ask as somebody") {
		t.Errorf("got %s", got)
	}
}
