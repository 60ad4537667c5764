package intent

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const openPort = "container app, ports[0]: port 8080 stays open beside Envoy: unless the app listens on 127.0.0.1 alone, plain text " +
	"reaches it there; let it listen there alone and declare the port no more, with its number in probes that name it; or write " +
	"spiffe.io/capture: inbound"

// A declared app-port is told of where nothing closes it, and nobody has said that it is to be open.
func TestOpenPortIsToldOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(p *Platform, ns *Namespace, pod *corev1.Pod)
		want   bool
	}{
		"declared": {func(*Platform, *Namespace, *corev1.Pod) {}, true},
		"declared, with a name that is no protocol": {func(_ *Platform, _ *Namespace, pod *corev1.Pod) {
			pod.Spec.Containers[0].Ports[0].Name = "web"
		}, true},
		"for the Namespace": {func(_ *Platform, ns *Namespace, pod *corev1.Pod) {
			ns.Annotations = pod.Annotations
			pod.Annotations = nil
		}, true},
		"declared by nobody":        {func(_ *Platform, _ *Namespace, pod *corev1.Pod) { pod.Spec.Containers[0].Ports = nil }, false},
		"another port":              {func(_ *Platform, _ *Namespace, pod *corev1.Pod) { pod.Spec.Containers[0].Ports[0].ContainerPort = 9090 }, false},
		"declared for its name":     {func(_ *Platform, _ *Namespace, pod *corev1.Pod) { pod.Spec.Containers[0].Ports[0].Name = "grpc" }, false},
		"captured":                  {func(_ *Platform, _ *Namespace, pod *corev1.Pod) { pod.Annotations[AnnotationCapture] = captureInbound }, false},
		"captured by default":       {func(p *Platform, _ *Namespace, _ *corev1.Pod) { p.Capture = true }, false},
		"closed by NetworkPolicies": {func(p *Platform, _ *Namespace, _ *corev1.Pod) { p.NetworkPolicies = true }, false},
		"open on purpose":           {func(_ *Platform, _ *Namespace, pod *corev1.Pod) { pod.Annotations[AnnotationPlainPorts] = "8080" }, false},
		"a port of the node, which is told of": {func(_ *Platform, _ *Namespace, pod *corev1.Pod) {
			pod.Spec.Containers[0].Ports[0].HostPort = 8080
		}, false},
		"written as inbound": {func(_ *Platform, _ *Namespace, pod *corev1.Pod) {
			delete(pod.Annotations, AnnotationAppPort)
			pod.Annotations[AnnotationInbound] = "[{listen: 8443, app: 8080, tls: permissive}]"
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, ns, pod := platform(t), Namespace{Name: "demo"}, &corev1.Pod{}
			pod.Labels = map[string]string{LabelInject: InjectEnabled}
			pod.Annotations = map[string]string{AnnotationSPIFFEID: "/api", AnnotationAppPort: "8080", AnnotationAllowedPeers: "/web"}
			pod.Spec.Containers = []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}
			tt.change(&p, &ns, pod)
			in, _ := ParseIntent(p, ns, pod)
			if got := slices.Contains(p.Warnings(ns, in), openPort); got != tt.want {
				t.Errorf("expected %t, got %q", tt.want, p.Warnings(ns, in))
			}
		})
	}
}
