package intent

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNothingIsToldTwice has one value of each kind that cannot be read: what follows from it is not told beside it.
func TestNothingIsToldTwice(t *testing.T) {
	const jwt = "- {listen: 8443, app: 8080, peers: [/web], jwt: {subjects: [/web]}}"
	for name, test := range map[string]struct {
		annotations map[string]string
		want        []string // where mistakes are
	}{
		"identity, whose audience is the default": {
			map[string]string{AnnotationSPIFFEID: "api", AnnotationInbound: jwt},
			[]string{"annotation spiffe.io/spiffe-id"},
		},
		"port of the app": {
			map[string]string{AnnotationAppPort: "0", AnnotationAllowedPeers: "/web"},
			[]string{"annotation spiffe.io/app-port"},
		},
		"peers of the short form": {
			map[string]string{AnnotationAppPort: "8080", AnnotationAllowedPeers: "web"},
			[]string{"annotation spiffe.io/allowed-peers"},
		},
		"all listeners": {
			map[string]string{AnnotationInbound: "8443"},
			[]string{"annotation spiffe.io/inbound"},
		},
		"fields of a listener": {
			map[string]string{AnnotationInbound: "- {listen: 0, app: 70000, protocol: udp, tls: mtls, clientCertificate: always}"},
			[]string{
				"annotation spiffe.io/inbound[0].app", "annotation spiffe.io/inbound[0].clientCertificate",
				"annotation spiffe.io/inbound[0].listen", "annotation spiffe.io/inbound[0].protocol",
				"annotation spiffe.io/inbound[0].tls",
			},
		},
		"fields of an upstream": {
			map[string]string{AnnotationUpstreams: "- {listen: -1, address: api, peers: [api], protocol: udp}"},
			[]string{
				"annotation spiffe.io/upstreams[0].address", "annotation spiffe.io/upstreams[0].listen",
				"annotation spiffe.io/upstreams[0].peers", "annotation spiffe.io/upstreams[0].protocol",
			},
		},
		"mode, on which the rest depends": {
			map[string]string{AnnotationMode: "gate", AnnotationUpstreams: `- {address: "a:1", peers: [/a]}`},
			[]string{"annotation spiffe.io/mode"},
		},
		"mode gateway, without upstreams beside a field that cannot be read": {
			map[string]string{AnnotationMode: "gateway", AnnotationInbound: "- {listen: 8443, tls: mtls, peers: [/web]}"},
			[]string{"annotation spiffe.io/inbound[0].tls", "annotations"},
		},
		"memory of Envoy": {
			map[string]string{AnnotationProxyResources: "{limits: {memory: 47Mi}}", AnnotationAppPort: "8080", AnnotationAllowedPeers: "/web"},
			[]string{"annotation spiffe.io/proxy-resources.limits.memory"},
		},
		"TTL": {
			map[string]string{AnnotationX509SVIDTTL: "1s", AnnotationAppPort: "8080", AnnotationAllowedPeers: "/web"},
			[]string{"annotation spiffe.io/x509-svid-ttl"},
		},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations}}
		_, mistakes := ParseIntent(platform(t), Namespace{Name: "demo"}, pod)
		var got []string
		for _, m := range mistakes {
			got = append(got, m.Where)
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s%s", name, diff, texts(mistakes))
		}
	}
}

// TestIndependentMistakesAreToldTogether has values that cannot be read beside rules that are broken all the same.
func TestIndependentMistakesAreToldTogether(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		AnnotationInbound:   "- {listen: 8443, protocol: tcp, peers: [web], forwardedClients: [x]}",
		AnnotationUpstreams: `- {listen: 8000, match: /, address: "a:1", peers: [/a, "spiffe://auxiliary.org/b"]}`,
	}}}
	_, mistakes := ParseIntent(platform(t), Namespace{Name: "demo"}, pod)
	all := strings.Join(texts(mistakes), "\n")
	for _, want := range []string{
		"inbound[0].peers: peer \"web\"",
		"inbound[0].forwardedClients: peer \"x\"",
		"inbound[0].forwardedClients: expected protocol http",
		"inbound[0].app: expected the port",
		"upstreams[0].peers: peer \"spiffe://auxiliary.org/b\"",
		"upstreams[0].match: is for gateways",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not told:\n%s", want, all)
		}
	}
}

// TestManyMistakesCostLittle has as many listeners as fit in an annotation, each with mistakes of its own, where the
// platform sets no lower limits.
func TestManyMistakesCostLittle(t *testing.T) {
	const items = 256 << 10 / 3
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		AnnotationInbound: "[" + strings.Repeat("{},", items-1) + "{}]",
	}}}
	p := platform(t)
	for which := range p.Bounds {
		p.Bounds[which] = 1 << 20
	}
	_, mistakes := ParseIntent(p, Namespace{Name: "demo"}, pod)
	if len(mistakes) < 2*items {
		t.Errorf("got %d mistakes of %d listeners", len(mistakes), items)
	}
}
