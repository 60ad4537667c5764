package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// cluster is a cache that has objects by their kind and name, or fails.
type cluster struct {
	client.Reader
	has []string
	err error
}

func (c cluster) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	name := fmt.Sprintf("%T %s", o, key)
	if c.err != nil || slices.Contains(c.has, name) {
		return c.err
	}
	return apierrors.NewNotFound(schema.GroupResource{}, name)
}

func service(name string) string { return "*v1.Service " + name }

// calling is a pod with upstreams to addresses.
func calling(addresses ...string) *corev1.Pod {
	pod := webhooktest.Server()
	var items []string
	for n, address := range addresses {
		items = append(items, fmt.Sprintf("- {listen: %d, address: %q, peers: [/x]}", 9000+n, address))
	}
	pod.Annotations[intent.AnnotationUpstreams] = strings.Join(items, "\n")
	return pod
}

func TestCalleesThatDoNotExist(t *testing.T) {
	const where = "annotation spiffe.io/upstreams[0].address: "
	there := cluster{has: []string{service("demo/api"), service("shop/api"), "*v1.Namespace /shop"}}
	missing := func(where, name, namespace string) string {
		return fmt.Sprintf("%sthere is no Service %s in namespace %s: calls fail until there is one; create it, or write another address",
			where, name, namespace)
	}
	alone := webhooktest.Server()
	delete(alone.Annotations, intent.AnnotationUpstreams)
	named := webhooktest.Server()
	named.Annotations[intent.AnnotationUpstreams] = `[{listen: "gone:9000", peers: [/x]}]`
	byOther := webhooktest.Server()
	byOther.Annotations[intent.AnnotationUpstreams] = `[{listen: "gone:9000", address: "api.shop.svc:80", peers: [/x]}]`
	for name, tt := range map[string]struct {
		cluster *Callees
		pod     *corev1.Pod
		want    []string
	}{
		"all there":                   {&Callees{there}, calling("api:80", "api.shop:80", "api.shop.svc.cluster.local:80"), nil},
		"no upstream":                 {&Callees{there}, alone, nil},
		"elsewhere":                   {&Callees{there}, calling("10.0.0.1:80", "example.org:80", "api.example.org:80"), nil},
		"gone":                        {&Callees{there}, calling("gone:80"), []string{missing(where, "gone", "demo")}},
		"in a namespace that is gone": {&Callees{there}, calling("api.gone.svc:80"), []string{missing(where, "api", "gone")}},
		"in one that is there":        {&Callees{there}, calling("gone.shop:80"), []string{missing(where, "gone", "shop")}},
		"twice":                       {&Callees{there}, calling("gone.shop.svc:80", "gone.shop.svc:81"), []string{missing(where, "gone", "shop")}},
		"by name":                     {&Callees{there}, named, []string{missing("annotation spiffe.io/upstreams[0].listen: ", "gone", "demo")}},
		"by the name of another":      {&Callees{there}, byOther, nil},
		"not known":                   {&Callees{cluster{err: errors.New("the cache did not sync")}}, calling("gone:80"), nil},
		"nobody knows":                {nil, calling("gone:80"), nil},
	} {
		platform := webhooktest.Platform(t).WithClusterDomain("cluster.local")
		injector := inject.Injector{Platform: platform, Decisions: inject.NewDecisions()}
		handler := &Handler{
			Injector:   func() inject.Injector { return injector },
			Registrar:  &spire{},
			Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}, live: intent.Namespace{Name: "demo"}},
			Callees:    tt.cluster,
		}
		req := admission.Request{}
		req.Operation, req.Namespace, req.Object = "CREATE", "demo", raw(t, tt.pod)
		for range 2 { // the second is remembered
			res := handler.Handle(t.Context(), req)
			told := slices.DeleteFunc(res.Warnings, func(w string) bool { return !strings.Contains(w, "there is no Service") })
			if !res.Allowed || !slices.Equal(told, tt.want) {
				t.Errorf("%s: expected it admitted with %q, got %v with %q", name, tt.want, res.Result, told)
			}
		}
	}
}

func TestCalleesComeLater(t *testing.T) {
	platform := webhooktest.Platform(t)
	res, err := inject.Injector{Platform: platform}.Inject(intent.Namespace{Name: "demo"}, calling("gone:80"))
	if err != nil {
		t.Fatal(err)
	}
	before := len(res.Warnings)
	told := (&Callees{cluster{}}).warn(t.Context(), res)
	if later := (&Callees{cluster{has: []string{service("demo/gone")}}}).warn(t.Context(), res); len(later.Warnings) != before ||
		len(told.Warnings) != before+1 {
		t.Errorf("expected a warning until the Service is there, got %q, then %q", told.Warnings, later.Warnings)
	}
}

func TestManyCallees(t *testing.T) {
	var addresses []string
	for n := range 100 {
		addresses = append(addresses, fmt.Sprintf("s%d:80", n))
	}
	res, err := inject.Injector{Platform: webhooktest.Platform(t)}.Inject(intent.Namespace{Name: "demo"}, calling(addresses...))
	if err != nil {
		t.Fatal(err)
	}
	before := len(res.Warnings)
	told := (&Callees{cluster{}}).warn(t.Context(), res).Warnings[before:]
	if len(res.Callees) != 32 || len(told) != 4 || told[3] != "Services of 29 more upstreams do not exist" {
		t.Errorf("expected a few of %d, got %q", len(res.Callees), told)
	}
}

func TestCalleesOfWorkloads(t *testing.T) {
	injector := inject.Injector{Platform: webhooktest.Platform(t)}
	validator := &WorkloadValidator{
		Injector:   func() inject.Injector { return injector },
		Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}, live: intent.Namespace{Name: "demo"}},
		Callees:    &Callees{cluster{}},
	}
	req := admission.Request{}
	req.Operation, req.Namespace, req.Object = "CREATE", "demo", raw(t, calling("gone:80"))
	req.Kind.Version, req.Kind.Kind = "v1", "Pod"
	res := validator.Handle(t.Context(), req)
	told := func(w string) bool { return strings.Contains(w, "there is no Service gone") }
	if !res.Allowed || !slices.ContainsFunc(res.Warnings, told) {
		t.Errorf("expected a warning, got %v with %q", res.Result, res.Warnings)
	}
}
