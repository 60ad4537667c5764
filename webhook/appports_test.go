package webhook

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAppPorts(t *testing.T) {
	injector := Injector{Platform: platform(t), Version: "test"}
	tests := []struct {
		name   string
		change func(*corev1.Pod) // of the injected pod
		want   []uint16
	}{
		{"app-port", func(*corev1.Pod) {}, []uint16{8080}},
		{"inbound", func(p *corev1.Pod) {
			delete(p.Annotations, AnnotationAppPort)
			p.Annotations[AnnotationInbound] = "[{listen: 8443, app: 9090}, {listen: 9443, app: 8080}, {listen: 9444, app: 8080}]"
		}, []uint16{8080, 9090}},
		{"a pod that is not injected", func(p *corev1.Pod) { delete(p.Annotations, AnnotationStatus) }, nil},
		{"a pod that is not understood", func(p *corev1.Pod) { p.Annotations[AnnotationAppPort] = "http" }, nil},
		{"no Envoy", func(p *corev1.Pod) {
			delete(p.Annotations, AnnotationAppPort)
			p.Annotations[AnnotationMode] = "socket"
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := running(t, injector)
			test.change(pod)
			if got := AppPorts(injector.Platform, Namespace{Name: "demo"}, pod); !slices.Equal(got, test.want) {
				t.Errorf("expected %v, got %v", test.want, got)
			}
		})
	}
}
