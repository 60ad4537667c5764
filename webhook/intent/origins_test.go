package intent

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// What counts for a pod is said to be where it was written: on the pod, on its Namespace, or in the platform file.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const (
		two = "[{listen: 8443, app: 8080}, {listen: 9443, app: 9090, peers: [/b]}]"
		ups = `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`
	)
	for _, tt := range []struct {
		name           string
		namespace, pod map[string]string
		id, first      string // and of the second listener, and of upstreams
		second, calls  string
	}{
		{"platform", nil, map[string]string{AnnotationAppPort: "8080"},
			"identity.templates of the platform file", "defaults.allowedPeers of the platform file", "", "nowhere"},
		{"namespace", map[string]string{AnnotationAllowedPeers: "/a", AnnotationInbound: two, AnnotationUpstreams: ups}, nil,
			"identity.templates of the platform file", "annotation spiffe.io/allowed-peers of Namespace demo",
			"annotation spiffe.io/inbound of Namespace demo", "annotation spiffe.io/upstreams of Namespace demo"},
		{"pod", map[string]string{AnnotationAllowedPeers: "/a", AnnotationAppPort: "8080"},
			map[string]string{AnnotationInbound: two, AnnotationAllowedPeers: "/c", AnnotationSPIFFEID: "/ns/demo/x", AnnotationUpstreams: ups},
			"annotation spiffe.io/spiffe-id", "annotation spiffe.io/allowed-peers", "annotation spiffe.io/inbound",
			"annotation spiffe.io/upstreams"},
		{"both", map[string]string{AnnotationAllowedPeers: "/a"}, map[string]string{AnnotationInbound: two},
			"identity.templates of the platform file", "annotation spiffe.io/allowed-peers of Namespace demo",
			"annotation spiffe.io/inbound", "nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := platform(t)
			p.AllowedPeers = []ir.Peer{ir.Everyone(p.Cluster.TrustDomain)}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tt.pod}}
			in, mistakes := ParseIntent(p, Namespace{Name: "demo", Annotations: tt.namespace}, pod)
			if len(mistakes) > 0 {
				t.Fatalf("%v", mistakes)
			}
			check := func(what, want string, got Origin) {
				t.Helper()
				if of := got.Of("demo"); want != "" && of != want {
					t.Errorf("%s: expected %q, got %q", what, want, of)
				}
			}
			check("identity", tt.id, in.Origins.ID)
			check("first listener", tt.first, in.Origins.Peers(0))
			check("second listener", tt.second, in.Origins.Peers(1))
			check("upstreams", tt.calls, in.Origins.Upstreams)
		})
	}
}
