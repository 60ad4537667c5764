package inject

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// Who is called outside the mesh changes on a running pod, but for the Secrets that are mounted.
func TestUpdateOfServersOutside(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	const mesh = `[{listen: 8000, address: "a.demo.svc:8443", peers: [/a]}, {listen: 8001, address: "b.demo.svc:8443", peers: [/b]}]`
	upstreams := func(first, second string) string {
		return `[{listen: 8000, address: "a.example.org:443", tls: ` + first + `}, {listen: 8001, address: "b.example.org:443", tls: ` + second + `}]`
	}
	both := upstreams("{ca: {secret: one}}", "{ca: {secret: two}}")
	for _, test := range []struct {
		name, before, after string
		refused             string // part of the refusal; empty if there is none
	}{
		{"to the public web", mesh, upstreams("{ca: system}", "{ca: system}"), ""},
		{"back to the mesh", upstreams("{ca: system}", "{ca: system, clientCertificate: svid}"), mesh, ""},
		{"another name", both, upstreams("{ca: {secret: one}, sni: x}", "{ca: {secret: two}, clientCertificate: svid}"), ""},
		{"the other Secret", both, upstreams("{ca: {secret: two}}", "{ca: {secret: one}}"), ""},
		{"a Secret", mesh, both, "names other Secrets with CAs"},
		{"one Secret less", both, upstreams("{ca: {secret: one}}", "{ca: {secret: one}}"), "names other Secrets with CAs"},
		{"another Secret", both, upstreams("{ca: {secret: one}}", "{ca: {secret: three}}"), "names other Secrets with CAs"},
		{"no Secret", both, mesh, "names other Secrets with CAs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := calling(t, injector, test.before)
			wantUpdate(t, injector, before, intent.AnnotationUpstreams, test.after, test.refused)
		})
	}
	was, is := calling(t, injector, both), calling(t, injector, mesh)
	if mistakes := fixed(was, is); len(mistakes) != 1 || mistakes[0].Where != "Secrets with CAs" {
		t.Errorf("other Secrets by the namespace: got %v", mistakes)
	}
}

// calling is a client with these upstreams.
func calling(t *testing.T, i Injector, upstreams string) *corev1.Pod {
	t.Helper()
	pod := webhooktest.Server()
	pod.Annotations[intent.AnnotationUpstreams] = upstreams
	res, err := i.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}
