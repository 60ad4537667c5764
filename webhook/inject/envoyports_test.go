package inject

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func TestEnvoyPorts(t *testing.T) {
	platform := webhooktest.Platform(t)
	platform.Sidecar.JWT.Image, platform.Sidecar.Capture.Image = "injector", "injector"
	metrics := platform
	metrics.Sidecar.Metrics = ir.Metrics{Port: 19090}
	for _, test := range []struct {
		name     string
		platform intent.Platform
		change   func(*corev1.Pod) // before it is injected
		want     []uint16
		without  bool
	}{
		{name: "app-port", platform: platform, want: []uint16{8443, 15021}},
		{name: "statistics", platform: metrics, want: []uint16{8443, 15021, 19090}},
		{name: "a caller alone", platform: platform, change: func(p *corev1.Pod) {
			p.Annotations = map[string]string{
				intent.AnnotationUpstreams: `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`,
			}
		}, want: []uint16{15021}},
		{name: "all kinds of ports", platform: platform, change: func(p *corev1.Pod) {
			delete(p.Annotations, intent.AnnotationAppPort)
			p.Annotations[intent.AnnotationInbound] = `[{listen: 8443, app: 8080, jwt: {subjects: [/web]}}, {listen: 80, app: 8081, tls: none}]`
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 9999}}
			get := &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8081}}}
			p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: get.DeepCopy()}}
		}, want: []uint16{80, 8443, 15021, 15022, 15023, 15024, 15030}},
		{name: "a gateway", platform: platform, change: func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Name: intent.SidecarName, Image: imageAuto}}
			p.Annotations = map[string]string{
				intent.AnnotationMode:      "gateway",
				intent.AnnotationInbound:   "[{listen: 8443, tls: none}]",
				intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
			}
		}, want: []uint16{8443, 15021}},
		{name: "captured", platform: platform, change: func(p *corev1.Pod) {
			p.Annotations[intent.AnnotationCapture] = "inbound"
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
		}, want: []uint16{8080, 8443, 15021, 15025}},
		{name: "no Envoy", platform: platform, change: func(p *corev1.Pod) {
			p.Annotations = map[string]string{intent.AnnotationMode: "socket"}
		}, without: true},
		{name: "an Envoy that is not ours", platform: platform, change: func(p *corev1.Pod) {
			p.Labels = nil
			p.Spec.Containers[0].Name = intent.SidecarName
		}, without: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := webhooktest.Server()
			if test.change != nil {
				test.change(pod)
			}
			injector := Injector{Platform: test.platform, Version: "test", Kubernetes: KubernetesVersion{1, 37}}
			res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
			if err != nil {
				t.Fatal(err)
			}
			if got, has := EnvoyPorts(res.Pod); !slices.Equal(got, test.want) || has == test.without {
				t.Errorf("expected %v, %t, got %v, %t", test.want, !test.without, got, has)
			}
		})
	}
}
