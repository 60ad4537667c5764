package webhook

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const platformText = `
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

func platform(t *testing.T) Platform {
	t.Helper()
	p, err := ParsePlatform([]byte(platformText))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// server is a labelled pod that is called and calls.
func server() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{LabelInject: InjectEnabled},
			Annotations: map[string]string{
				AnnotationSPIFFEID:     "/api",
				AnnotationAppPort:      "8080",
				AnnotationAllowedPeers: "/web",
				AnnotationUpstreams:    `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`,
			},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

func wantRefusal(t *testing.T, err error, reason Reason, part string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("expected a refusal for %s, got %v", reason, err)
	}
	if r.Reason != reason || !strings.Contains(r.Error(), part) {
		t.Errorf("expected %s with %q, got %s", reason, part, r.Error())
	}
}

// wantErrorWith checks for a part of an error; "" wants none.
func wantErrorWith(t *testing.T, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("expected no error, got %q", err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("expected an error with %q, got %v", part, err)
	}
}
