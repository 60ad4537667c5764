package envoy

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestFederatedPeers: a peer of another trust domain is let in by that domain's authority alone, and neither authority
// can speak for the other's domain.
func TestFederatedPeers(t *testing.T) {
	t.Parallel()
	foreign := startAgentOf(t, auxiliary, nil)
	own := startAgentOf(t, trustDomain, []*agent{foreign}, "/api")
	p := apiProxy(t, own, "/valid", "spiffe://auxiliary.org/ns/shop/*")
	x := startProxy(t, p)
	x.waitReady()
	url := fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)
	for _, test := range []struct {
		id     string
		signed *agent
		reason string // of the refusal
	}{
		{"spiffe://auxiliary.org/ns/shop/web", foreign, ""},
		{"spiffe://example.org/valid", own, ""},
		{"spiffe://auxiliary.org/ns/other/web", foreign, "SAN_match"},
		{"spiffe://auxiliary.org/valid", foreign, "SAN_match"},
		{"spiffe://example.org/valid", foreign, "CERTIFICATE_VERIFY_FAILED"},
		{"spiffe://auxiliary.org/ns/shop/web", own, "CERTIFICATE_VERIFY_FAILED"},
		{"spiffe://third.org/ns/shop/web", foreign, "no_trust_bundle_store"},
	} {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig(t, test.signed, test.id)}}
		status, _, err := get(client, url)
		if in := err == nil && status == 200; in != (test.reason == "") {
			t.Errorf("%s signed by %s: let in %t (%d, %v)", test.id, test.signed.domain, in, status, err)
		}
		if test.reason != "" {
			x.waitEvent("handshake_refused", map[string]string{"peer": test.id, "reason": test.reason})
		}
	}
}
