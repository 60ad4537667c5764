package inject

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// What is said of clients changes on a running pod, but for what Envoy reads once, and what is mounted.
func TestUpdateOfClients(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	const plain, optional = `[{listen: 8443, app: 8080, peers: [/web]}]`, `[{listen: 8443, app: 8080, peers: [/web], clientCertificate: optional}]`
	secret := func(name string) string {
		return `[{listen: 8443, app: 8080, peers: [/web], certificate: {secret: ` + name + `}}]`
	}
	for _, test := range []struct {
		name, before, after string
		refused             string // part of the refusal; empty if there is none
	}{
		{"forwarded", plain, `[{listen: 8443, app: 8080, peers: [/edge], forwardedClients: [/web]}]`, ""},
		{"limits", plain, `[{listen: 8443, app: 8080, peers: [/web], limits: {maxRequestBytes: 1Ki}}]`, ""},
		{"none", plain, `[{listen: 8443, app: 8080, clientCertificate: none}]`, ""},
		{"peers of a port with a Secret", secret("web"), `[{listen: 8443, app: 8080, peers: [/x], certificate: {secret: web}}]`, ""},
		{"optional", plain, optional, "begins or ends to take callers with and without a certificate"},
		{"no more optional", optional, plain, "begins or ends to take callers with and without a certificate"},
		{"a Secret", plain, secret("web"), "names another Secret"},
		{"no Secret", secret("web"), plain, "names another Secret"},
		{"another Secret", secret("web"), secret("other"), "names another Secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := injectedWith(t, injector, test.before)
			after := before.DeepCopy()
			after.Annotations[intent.AnnotationInbound] = test.after
			changed, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
			if test.refused != "" {
				wantRefusal(t, err, reason.NeedsNewPod, test.refused)
				return
			}
			if err != nil || changed.Reason != reason.Regenerated {
				t.Fatalf("got %s, %v", changed.Reason, err)
			}
			// The namespace's default says the same.
			if mistakes := fixed(before, changed.Pod); len(mistakes) > 0 {
				t.Errorf("a running pod could not follow its namespace: %v", mistakes)
			}
		})
	}
	was, is := injectedWith(t, injector, secret("web")), injectedWith(t, injector, secret("other"))
	if mistakes := fixed(was, is); len(mistakes) != 1 || mistakes[0].Where != "Secret with the certificate" {
		t.Errorf("another Secret by the namespace: got %v", mistakes)
	}
}

// injectedWith is a server with this long form.
func injectedWith(t *testing.T, i Injector, inbound string) *corev1.Pod {
	t.Helper()
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAppPort)
	delete(pod.Annotations, intent.AnnotationAllowedPeers)
	pod.Annotations[intent.AnnotationInbound] = inbound
	res, err := i.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}
