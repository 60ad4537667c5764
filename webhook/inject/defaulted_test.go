package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

var digest = "@sha256:" + strings.Repeat("0123456789abcdef", 4)

func TestDefaultPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"envoy":                                corev1.PullAlways,
		"envoy:latest":                         corev1.PullAlways,
		"envoy:v1":                             corev1.PullIfNotPresent,
		"registry.example.org:5000/envoy":      corev1.PullAlways,
		"registry.example.org:5000/envoy:v1":   corev1.PullIfNotPresent,
		"envoy" + digest:                       corev1.PullIfNotPresent,
		"envoy:v1" + digest:                    corev1.PullIfNotPresent,
		"envoy:latest" + digest:                corev1.PullAlways,
		"registry.example.org:5000/e" + digest: corev1.PullIfNotPresent,
	} {
		if got := defaultPullPolicy(image); got != want {
			t.Errorf("%s: expected %s, got %s", image, want, got)
		}
	}
}

// A running pod whose image is named by another digest is outdated, and one with the same is not.
func TestRefreshOfImageByDigest(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	injector.Platform.InPlace = true
	injector.Platform.Sidecar.Image = "envoy:v1" + digest
	pod := running(t, injector)
	if r, err := injector.Refresh(intent.Namespace{Name: "demo"}, pod); err != nil || r.Outdated {
		t.Errorf("the same image: %+v, %v", r, err)
	}
	injector.Platform.Sidecar.Image = "envoy:v1" + strings.Replace(digest, "0", "1", 1)
	r, err := injector.Refresh(intent.Namespace{Name: "demo"}, pod)
	if err != nil || !r.Outdated || r.Image != injector.Platform.Sidecar.Image {
		t.Errorf("another digest: %+v, %v", r, err)
	}
}
