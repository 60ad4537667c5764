package answers

import (
	"strings"
	"testing"
)

// The list that is suggested has who was let in or refused with an identity that is verified, and nobody else.
func TestSuggest(t *testing.T) {
	t.Parallel()
	m := witnessedMistakes(t)
	log := logOf(t, calleeLog+
		`{"time":"2026-01-01T11:58:00.000Z","event":"handshake_refused","listener":"inbound_8443","peer":"spiffe://example.org/ns/m4/forged","reason":"TLS_error:|1:CERTIFICATE_VERIFY_FAILED"}`+"\n"+
		`{"time":"2026-01-01T11:58:30.000Z","event":"handshake_refused","listener":"inbound_8443","peer":"spiffe://example.org/ns/shop/stolen","reason":"TLS_error:|1:SAN_match"}`+"\n")
	m.Told["m4/api-5d8f9c-0"] = Told{Log: &log}
	pods, err := m.Witnesses("m4/svc/api", "")
	if err != nil || len(pods) != 1 {
		t.Fatalf("got %v, %v", pods, err)
	}
	s, err := m.Suggest("m4/api", "")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := s.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, part := range []string{
		"Deployment m4/api: seen from 11:50:00 until 11:58:30, in the logs of 1 of 1 pod",
		"/ns/m4/web (Deployment m4/web) 8443 2 11:52:00 refused added: it was refused",
		"/ns/m4/ok 8443 1 11:55:00 audited added: let in, because enforcement is audit",
		"/ns/m4/forged 8443 1 11:58:00 refused not to be added: its certificate",
		"/ns/shop/stolen 8443 1 11:58:30 refused not to be added: it is quarantined",
		"10.0.0.1 8443 1 11:57:00 plain in plain text",
		"8443: nobody was seen of /ns/m4/wbe",
		"write spiffe.io/allowed-peers: /ns/m4/wbe, /ns/m4/ok, /ns/m4/web ",
		`kubectl -n m4 patch deployment api --type merge -p '{"spec":{"template":{"metadata":{"annotations":{"spiffe.io/allowed-peers":"/ns/m4/wbe, /ns/m4/ok, /ns/m4/web"}}}}}'`,
		"kubectl -n m4 annotate --overwrite pod api-5d8f9c-0 spiffe.io/allowed-peers='/ns/m4/wbe, /ns/m4/ok, /ns/m4/web'",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("expected %q, got\n%s", part, out.String())
		}
	}
}

// Without logs nothing is guessed, and of what takes no calls nothing is suggested.
func TestSuggestNothing(t *testing.T) {
	t.Parallel()
	m := witnessedMistakes(t)
	s, err := m.Suggest("m8b/api", "")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := s.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"nothing was seen: the log of none of 1 pod was read", "nothing to add to the list", "Service m8b/api: 80 → 8080, past the Envoy"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("expected %q, got\n%s", part, out.String())
		}
	}
	for name, part := range map[string]string{
		"m4/web": "takes no calls", "m1/api": "is not injected: neither", "m9/api": "there is no namespace m9",
	} {
		if _, err := m.Suggest(name, ""); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: expected %q, got %v", name, part, err)
		}
	}
}
