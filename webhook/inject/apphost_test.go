package inject

import (
	"testing"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// Readiness asks the app where it was when the pod began: a namespace that moves it does not move it in running pods.
func TestRefreshOfAppAddresses(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	namespace := func(app string) intent.Namespace {
		return in(map[string]string{intent.AnnotationInbound: "[{listen: 8443, app: " + app + ", peers: [/web]}]"})
	}
	apps := []string{"8080", `"[::1]:8080"`, `"podIP:8080"`}
	for _, before := range apps {
		pod := webhooktest.Server()
		delete(pod.Annotations, intent.AnnotationAppPort)
		delete(pod.Annotations, intent.AnnotationAllowedPeers)
		res, err := injector.Inject(namespace(before), pod)
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range apps {
			r, err := injector.Refresh(namespace(after), res.Pod)
			if err != nil || (len(r.NewPod) > 0) != (before != after) || r.Outdated {
				t.Errorf("from %s to %s: %+v, %v", before, after, r, err)
			}
		}
	}
}
