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
		change func(*corev1.Pod) // of the injected pod
		want   []uint16
	}{
		{"app-port", func(*corev1.Pod) {}, []uint16{8080}},
		{"inbound", func(p *corev1.Pod) {
			delete(p.Annotations, intent.AnnotationAppPort)
			p.Annotations[intent.AnnotationInbound] = "[{listen: 8443, app: 9090}, {listen: 9443, app: 8080}, {listen: 9444, app: 8080}]"
		}, []uint16{8080, 9090}},
		{"a pod that is not injected", func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationStatus) }, nil},
		{"a pod that is not understood", func(p *corev1.Pod) { p.Annotations[intent.AnnotationAppPort] = "http" }, nil},
		{"no Envoy", func(p *corev1.Pod) {
			delete(p.Annotations, intent.AnnotationAppPort)
			p.Annotations[intent.AnnotationMode] = "socket"
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := running(t, injector)
			test.change(pod)
			if got := AppPorts(injector.Platform, intent.Namespace{Name: "demo"}, pod); !slices.Equal(got, test.want) {
				t.Errorf("expected %v, got %v", test.want, got)
			}
		})
	}
}
