package e2e

import (
	"fmt"
	"testing"
)

// Nobody notices that the injector renews its certificate, and the CA of it.
func TestOwnCertificatesAreRotated(t *testing.T) {
	t.Parallel()
	injector, served := release(t, "injector/base")
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
	injector, served := release(t, "injector/base")
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
