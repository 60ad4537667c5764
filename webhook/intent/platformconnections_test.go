package intent

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestMaxConnections: the platform's bound holds at ports that require certificates and say nothing else, in both forms
// of writing them.
func TestMaxConnections(t *testing.T) {
	p := platform(t)
	p.Sidecar.MaxConnections = 500
	for name, test := range map[string]struct {
		annotations map[string]string
		want        []uint64
	}{
		"short form": {map[string]string{AnnotationAppPort: "8080"}, []uint64{500}},
		"long form": {map[string]string{AnnotationInbound: `
- {listen: 8443, app: 8080}
- {listen: 8444, app: 8080, tls: permissive}
- {listen: 8445, app: 8081, protocol: tcp}
- {listen: 8446, app: 8080, limits: {maxConnections: 0}}
- {listen: 8447, app: 8080, limits: {maxConnections: 7}}
- {listen: 8448, app: 8080, tls: none}
`}, []uint64{500, 500, 500, 0, 7, 10_000}},
	} {
		test.annotations[AnnotationAllowedPeers] = "/web"
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations}}
		intent, mistakes := ParseIntent(p, Namespace{Name: "demo"}, pod)
		if len(mistakes) > 0 {
			t.Errorf("%s: %v", name, texts(mistakes))
		}
		for i, in := range intent.Proxy.Inbound {
			if got := in.Limits.MaxConnections; got != test.want[i] {
				t.Errorf("%s, port %d: %d connections, want %d", name, in.Listen, got, test.want[i])
			}
		}
	}
}

func TestMaxConnectionsOfThePlatformFile(t *testing.T) {
	for written, want := range map[string]uint64{"1": 1, "1000000": 1_000_000} {
		got, err := ParsePlatform(changed(t, "image: envoy", "image: envoy, maxConnections: "+written))
		if err != nil || got.Sidecar.MaxConnections != want {
			t.Errorf("%s: got %d, %v", written, got.Sidecar.MaxConnections, err)
		}
	}
	for _, written := range []string{"-1", "1000001"} {
		_, err := ParsePlatform(changed(t, "image: envoy", "image: envoy, maxConnections: "+written))
		wantError(t, err, "sidecar.maxConnections: expected 1 to 1000000 connections, or nothing for any number, got "+written)
	}
}
