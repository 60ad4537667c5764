package e2e

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/install"
)

// Nobody notices that the injector renews its certificate, and the CA of it.
func TestOwnCertificatesAreRotated(t *testing.T) {
	t.Parallel()
	injector, served := release(t, "injector/overlays/self-rotated")
	const secret = "spire-injector-serving-cert"
	remove := func(t *testing.T, keys string) {
		t.Helper()
		_, err := shared.k.Run(t.Context(), "--namespace", injector, "patch", "secret", secret, "--type=merge", "--patch", `{"data":`+keys+`}`)
		must(t, err)
	}
	s := startStorm(t, served)
	h := watchHandshakes(t, injector, secret)
	for round := range 2 {
		t.Run(fmt.Sprintf("certificate %d", round), func(t *testing.T) {
			before := h.shown(t)
			remove(t, `{"tls.crt":null,"tls.key":null}`)
			h.awaitNew(t, before)
		})
		t.Run(fmt.Sprintf("CA %d", round), func(t *testing.T) {
			before := h.shown(t)
			remove(t, `null`)
			h.awaitNew(t, before)
			if trusted := h.authorities(t); trusted < 2 {
				t.Errorf("expected the old CA beside the new one, got %d in all", trusted)
			}
		})
	}
	h.wantNoFailure(t)
	s.wantNoRefusal(t)
}

// Nor does anybody when cert-manager does.
func TestCertManagersCertificatesAreRotated(t *testing.T) {
	t.Parallel()
	certManager(t)
	injector, served := release(t, "injector/overlays/self-rotated")
	// From here on there are CAs of both kinds in the webhook configurations.
	upgrade(t, injector, served, "injector/overlays/cert-manager")
	s := startStorm(t, served)
	h := watchHandshakes(t, injector, "spire-injector-tls")
	for round := range 2 {
		t.Run(fmt.Sprintf("certificate %d", round), func(t *testing.T) {
			before := h.shown(t)
			renew(t, injector, "spire-injector")
			h.awaitNew(t, before)
		})
		t.Run(fmt.Sprintf("CA %d", round), func(t *testing.T) {
			before := h.shown(t)
			renew(t, injector, "spire-injector-ca")
			renew(t, injector, "spire-injector") // cert-manager itself renews it when its time comes
			h.awaitNew(t, before)
			if trusted := h.authorities(t); trusted < 2 {
				t.Errorf("expected the old CA beside the new one, got %d in all", trusted)
			}
		})
	}
	h.wantNoFailure(t)
	s.wantNoRefusal(t)
}

// Nor when whoever has installed the injector makes another certificate. The injector may do nothing to it.
func TestInstalledCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	injector, served := release(t, "injector/base")
	s := startStorm(t, served)
	h := watchHandshakes(t, injector, "spire-injector-serving-cert")
	for range 2 {
		before := h.shown(t)
		must(t, install.ServingCertificate(t.Context(), shared.env, progress{t},
			"--namespace", injector, "--webhook-configuration", injector, "--renew"))
		h.awaitNew(t, before)
	}
	if trusted := h.authorities(t); trusted != 2 {
		t.Errorf("expected the CA before the last one to be gone, got %d CAs", trusted)
	}
	h.wantNoFailure(t)
	s.wantNoRefusal(t)
}

// Nor when the certificate is the injector's own SVID, which lives for a minute, and the API server trusts it because
// SPIRE has its bundle in the webhook configurations.
func TestSVIDAsServingCertificate(t *testing.T) {
	t.Parallel()
	served := namespace(t)
	injector := releaseOf(t, served, install.Release{
		Overlay: manifests("injector/overlays/spire-serving-cert"),
		SVIDTTL: time.Minute,
	})
	secrets, err := clientset(t).CoreV1().Secrets(injector).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(secrets.Items) > 0 {
		t.Errorf("expected no Secret, got %s", secrets.Items[0].Name)
	}
	s := startStorm(t, served)
	h := watchHandshakes(t, injector, "")
	for range 2 {
		before := h.shownByAll(t)
		eventually(t, "another SVID at all replicas", func() error {
			for pod, leaf := range h.shownByAll(t) {
				if leaf == before[pod] {
					return fmt.Errorf("replica %s shows the same", pod)
				}
			}
			return nil
		})
	}
	h.wantNoFailure(t)
	s.wantNoRefusal(t)
}
