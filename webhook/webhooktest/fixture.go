// Package webhooktest has the platform file and the pod that the tests of injection and of its handlers begin with.
package webhooktest

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// PlatformFile says no more than it must, and gives namespace demo a claim to /api.
const PlatformFile = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
identity:
  claims:
  - {namespaces: [demo], serviceAccounts: ["*"], paths: [/api]}
sidecar: {image: envoy}
`

// Platform is [PlatformFile], parsed.
func Platform(t testing.TB) intent.Platform {
	t.Helper()
	p, err := intent.ParsePlatform([]byte(PlatformFile))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Server is a labelled pod that is called and calls.
func Server() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{intent.LabelInject: intent.InjectEnabled},
			Annotations: map[string]string{
				intent.AnnotationSPIFFEID:     "/api",
				intent.AnnotationAppPort:      "8080",
				intent.AnnotationAllowedPeers: "/web",
				intent.AnnotationUpstreams:    `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`,
			},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}
