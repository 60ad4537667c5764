package inject

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func TestAppPorts(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	tests := []struct {
		name   string
		change func(*corev1.Pod) // before it is injected
		want   []uint16
	}{
		{"app-port", func(*corev1.Pod) {}, []uint16{8080}},
		{"inbound", func(p *corev1.Pod) {
			delete(p.Annotations, intent.AnnotationAppPort)
			p.Annotations[intent.AnnotationInbound] = `[
				{listen: 8443, app: 9090}, {listen: 9443, app: 8080}, {listen: 9444, app: 8080}]`
		}, []uint16{8080, 9090}},
		{"no Envoy", func(p *corev1.Pod) {
			p.Annotations = map[string]string{intent.AnnotationMode: "socket"}
		}, nil},
		{"gateway", func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Name: intent.SidecarName, Image: imageAuto}}
			p.Annotations = map[string]string{
				intent.AnnotationMode:      "gateway",
				intent.AnnotationInbound:   "[{listen: 8443, tls: none}]",
				intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
			}
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := webhooktest.Server()
			test.change(pod)
			res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
			if err != nil {
				t.Fatal(err)
			}
			for version, pod := range map[string]*corev1.Pod{"this": res.Pod, "an older": ofOlderVersion(t, res.Pod)} {
				if got := AppPorts(injector.Platform, intent.Namespace{Name: "demo"}, pod); !slices.Equal(got, test.want) {
					t.Errorf("injected by %s version: expected %v, got %v", version, test.want, got)
				}
			}
		})
	}
	if got := AppPorts(injector.Platform, intent.Namespace{Name: "demo"}, webhooktest.Server()); got != nil {
		t.Errorf("a pod that is not injected: got %v", got)
	}
	older := ofOlderVersion(t, running(t, injector))
	older.Annotations[intent.AnnotationAppPort] = "http"
	if got := AppPorts(injector.Platform, intent.Namespace{Name: "demo"}, older); got != nil {
		t.Errorf("a pod that is not understood: got %v", got)
	}
}
