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

// Namespaces come with those of their Services that select pods, as the API server's watch tells it; of the others the
// cache keeps little. The injector's own rights suffice.
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
	_, err = watched.GetInformer(ctx, &corev1.Service{}, cache.BlockUntilSynced(false))
	must(t, err)
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
	silent, headless := service("services", "silent", ""), service("services", "headless", "")
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	for _, o := range []*corev1.Service{api, silent, headless, service("services-of-others", "api", "tcp")} {
		must(t, s.Create(ctx, o))
	}
	namespaces := webhook.Namespaces{Cached: s, Direct: s, Services: watched}
	expect := func(want ...string) {
		t.Helper()
		s.eventually(t, fmt.Sprintf("Services that say %q", want), func() error {
			var got []string
			ns, err := namespaces.Namespace(ctx, "services")
			for _, s := range ns.Services {
				text := s.Name
				for _, p := range s.Ports {
					text += fmt.Sprintf(" %d → %s %s", p.Port, p.Target.String(), p.AppProtocol)
				}
				got = append(got, text)
			}
			slices.Sort(got)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("got %q", got)
			}
			return err
		})
	}
	const ofSilent = "silent 80 → 80  81 → rpc "
	expect("api 80 → 80  81 → rpc grpc", ofSilent)
	live, err := namespaces.Live(ctx, "services")
	must(t, err)
	for _, o := range []*corev1.Service{api, silent} {
		one, _ := intent.ServiceOf(o)
		if !slices.ContainsFunc(live.Services, func(s intent.Service) bool { return reflect.DeepEqual(s, one) }) {
			t.Errorf("expected all that counts of %+v, got %+v", one, live.Services)
		}
	}
	says := "http2"
	api.Spec.Ports[1].AppProtocol = &says
	must(t, s.Update(ctx, api))
	expect("api 80 → 80  81 → rpc http2", ofSilent)
	var kept corev1.Service
	s.eventually(t, "the Service that has nothing to say", func() error {
		return watched.Get(ctx, client.ObjectKey{Namespace: "services", Name: "headless"}, &kept)
	})
	if kept.Spec.Selector != nil || kept.Spec.Ports != nil || kept.ManagedFields != nil {
		t.Errorf("expected no more than its name to be kept, got %+v", kept)
	}
	must(t, s.Delete(ctx, api))
	expect(ofSilent)
}
