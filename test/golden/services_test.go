package golden

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Namespaces come with those of their Services that say what is spoken on ports, as the API server's watch tells it; of
// the others the cache keeps little. The injector's own rights suffice.
func testServices(t *testing.T, s *apiServer) {
	ctx := t.Context()
	s.asInjector(t) // which makes its roles
	config := rest.CopyConfig(s.config)
	config.Impersonate = injectorItself
	watched, err := cache.New(config, cache.Options{
		Scheme:   s.Scheme(),
		ByObject: map[client.Object]cache.ByObject{&corev1.Service{}: {Transform: webhook.TrimService}},
	})
	must(t, err)
	must(t, webhook.IndexServices(ctx, watched))
	ended := make(chan error, 1)
	go func() { ended <- watched.Start(ctx) }()
	if !watched.WaitForCacheSync(ctx) {
		t.Fatal(errors.Join(errors.New("the cache did not fill"), <-ended))
	}
	for _, name := range []string{"services", "services-of-others"} {
		must(t, s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	service := func(namespace, name, says string) *corev1.Service {
		o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "a", Port: 80}, {Name: "b", Port: 81, TargetPort: intstr.FromString("rpc")}},
		}}
		if says != "" {
			o.Spec.Ports[1].AppProtocol = &says
		}
		return o
	}
	api := service("services", "api", "grpc")
	for _, o := range []*corev1.Service{api, service("services", "silent", ""), service("services-of-others", "api", "tcp")} {
		must(t, s.Create(ctx, o))
	}
	namespaces := webhook.Namespaces{Cached: s, Direct: s, Services: watched}
	expect := func(want ...string) {
		t.Helper()
		s.eventually(t, fmt.Sprintf("Services that say %q", want), func() error {
			var got []string
			ns, err := namespaces.Namespace(ctx, "services")
			for _, s := range ns.Services {
				got = append(got, s.Name+" "+s.Ports[0].Target.String()+" "+s.Ports[0].AppProtocol)
			}
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("got %q", got)
			}
			return err
		})
	}
	expect("api rpc grpc")
	live, err := namespaces.Live(ctx, "services")
	must(t, err)
	if one, _ := intent.ServiceOf(api); !reflect.DeepEqual(live.Services, []intent.Service{one}) {
		t.Errorf("expected all that counts of %+v, got %+v", one, live.Services)
	}
	says := "http2"
	api.Spec.Ports[1].AppProtocol = &says
	must(t, s.Update(ctx, api))
	expect("api rpc http2")
	var silent corev1.Service
	s.eventually(t, "the Service that says nothing", func() error {
		return watched.Get(ctx, client.ObjectKey{Namespace: "services", Name: "silent"}, &silent)
	})
	if silent.Spec.Selector != nil || silent.Spec.Ports != nil || silent.ManagedFields != nil {
		t.Errorf("expected no more than its name to be kept, got %+v", silent)
	}
	must(t, s.Delete(ctx, api))
	expect()
}
