package inject

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// gatewayOf injects a gateway with this container.
func gatewayOf(t *testing.T, c corev1.Container) corev1.Container {
	t.Helper()
	pod := webhooktest.Server()
	pod.Annotations = map[string]string{
		intent.AnnotationMode:      "gateway",
		intent.AnnotationSPIFFEID:  "/api",
		intent.AnnotationInbound:   "[{listen: 8443, peers: [/web]}]",
		intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
	}
	c.Name, c.Image = intent.SidecarName, imageAuto
	pod.Spec.Containers = []corev1.Container{c}
	res, err := Injector{Platform: webhooktest.Platform(t)}.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod.Spec.Containers[0]
}

// The API server makes Always of an image without a tag, which "auto" is; what the user writes besides stays.
func TestGatewayPullsItsOwnImage(t *testing.T) {
	for written, want := range map[corev1.PullPolicy]corev1.PullPolicy{
		corev1.PullAlways:       "",
		corev1.PullNever:        corev1.PullNever,
		corev1.PullIfNotPresent: corev1.PullIfNotPresent,
		"":                      "",
	} {
		if got := gatewayOf(t, corev1.Container{ImagePullPolicy: written}).ImagePullPolicy; got != want {
			t.Errorf("%q becomes %q, want %q", written, got, want)
		}
	}
}

// A port of the user's is Envoy's too if it is the same, whatever its name.
func TestGatewayDeclaresEachPortOnce(t *testing.T) {
	ours := corev1.ContainerPort{Name: "mtls-8443", ContainerPort: 8443, Protocol: corev1.ProtocolTCP}
	tcp := corev1.ContainerPort{Name: "https", ContainerPort: 8443, Protocol: corev1.ProtocolTCP}
	unsaid := corev1.ContainerPort{Name: "https", ContainerPort: 8443}
	udp := corev1.ContainerPort{Name: "quic", ContainerPort: 8443, Protocol: corev1.ProtocolUDP}
	for _, test := range []struct{ written, want []corev1.ContainerPort }{
		{nil, []corev1.ContainerPort{ours}},
		{[]corev1.ContainerPort{tcp}, []corev1.ContainerPort{tcp}},
		{[]corev1.ContainerPort{unsaid}, []corev1.ContainerPort{unsaid}},
		{[]corev1.ContainerPort{udp}, []corev1.ContainerPort{udp, ours}},
	} {
		if diff := cmp.Diff(test.want, gatewayOf(t, corev1.Container{Ports: test.written}).Ports); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.written, diff)
		}
	}
}
