package inject

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// saying is the namespace with a Service that says what all of its pods speak on the app's port.
func saying(protocol string) intent.Namespace {
	pod := webhooktest.Server()
	return intent.Namespace{Name: "demo", Services: []intent.Service{{
		Name:     "api",
		Selector: pod.Labels,
		Ports:    []intent.ServicePort{{Target: intstr.Parse(pod.Annotations[intent.AnnotationAppPort]), AppProtocol: protocol}},
	}}}
}

func TestAppProtocolOfRunningPods(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	res, err := i.Inject(saying("grpc"), webhooktest.Server())
	if err != nil {
		t.Fatal(err)
	}
	grpc := res.Pod
	if got := StatusOf(grpc).Envoy.AppProtocols; !slices.Equal(got, []string{"8080:grpc"}) {
		t.Errorf("expected the status to say what was found, got %q", got)
	}
	plain := running(t, i)
	named := plain.DeepCopy()
	app := containerNamed(named.Spec.Containers, "app") // as before names counted
	app.Ports = []corev1.ContainerPort{{Name: "https", ContainerPort: 8080}}
	for name, pod := range map[string]*corev1.Pod{"found": grpc, "not found": plain, "named https": named} {
		t.Run(name, func(t *testing.T) {
			for _, ns := range []intent.Namespace{{Name: "demo"}, saying("grpc"), saying("tcp"), saying("https")} {
				if r, err := i.Refresh(ns, pod); err != nil || r.Outdated || len(r.NewPod) > 0 {
					t.Errorf("expected nothing outdated, got %+v, %v", r, err)
				}
				if _, err := i.Validate(ns, pod); err != nil {
					t.Errorf("expected it to be what injection makes, got %v", err)
				}
				if needs := i.NeedsOfPod(ns, pod); len(needs.Workloads) == 0 {
					t.Errorf("expected it to keep its entry, got %+v", needs)
				}
				after := pod.DeepCopy()
				after.Annotations[intent.AnnotationAllowedPeers] = "/other"
				changed, err := i.Update(ns, pod, after)
				if err != nil || changed.Reason != reason.Regenerated {
					t.Fatalf("expected a change of peers to pass, got %s, %v", changed.Reason, err)
				}
				if pod.Annotations[intent.AnnotationClusters] != changed.Pod.Annotations[intent.AnnotationClusters] {
					t.Error("a change of peers changed what Envoy speaks to the app")
				}
			}
		})
	}
}

func TestForgedAppProtocols(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	for _, items := range [][]string{{"8080:tcp"}, {"9999:grpc"}, {"8080:x"}, {"x:tcp"}} {
		pod := running(t, i)
		status := StatusOf(pod)
		status.Envoy.AppProtocols = items
		if err := status.writeTo(pod); err != nil {
			t.Fatal(err)
		}
		_, err := i.Validate(intent.Namespace{Name: "demo"}, pod)
		wantRefusal(t, err, reason.Tampered, "")
	}
}

func TestServicesAreRecognised(t *testing.T) {
	i := Injector{Platform: webhooktest.Platform(t)}
	i.Decisions = NewDecisions()
	other := saying("tcp")
	other.Services[0].Selector = map[string]string{"app": "of others"}
	for _, tt := range []struct {
		ns         intent.Namespace
		remembered bool
	}{
		{intent.Namespace{Name: "demo"}, false}, {saying("grpc"), false}, {saying("tcp"), false}, {saying("grpc"), true}, {other, true},
		{saying(""), false}, {saying(""), true},
	} {
		res, err := i.Create(tt.ns, webhooktest.Server())
		if err != nil {
			t.Fatal(err)
		}
		if res.Remembered != tt.remembered {
			t.Errorf("Services %+v: expected remembered %t, got %t", tt.ns.Services, tt.remembered, res.Remembered)
		}
		past := func(warning string) bool { return strings.HasPrefix(warning, "Service demo/api: ") }
		if leads := len(tt.ns.Services) > 0 && !reflect.DeepEqual(tt.ns, other); slices.ContainsFunc(res.Warnings, past) != leads {
			t.Errorf("Services %+v: expected a warning that they lead past Envoy: %t, got %q", tt.ns.Services, leads, res.Warnings)
		}
	}
}
