package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
)

func TestSPIFFEClientSummary(t *testing.T) {
	t.Parallel()
	got := runCommand(t.Context(), "spiffe-client", "--socket", newTrustDomain(t).agent(t, "/ns/workloads/sa/spiffe-client"))
	want := `- SPIFFE ID = spiffe://example.org/ns/workloads/sa/spiffe-client
- TrustDomain = example.org
- Cert[0] Subject = O=SPIRE,C=US
- Cert[0] Issuer = O=SPIFFE
- Cert[1] Subject = O=SPIFFE
- Cert[1] Issuer = O=SPIFFE
`
	if diff := cmp.Diff(result{stdout: want}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSPIFFEClientParts(t *testing.T) {
	t.Parallel()
	socket := newTrustDomain(t).agent(t, "/api")
	for _, test := range []struct {
		arguments []string
		want      string
		count     int
	}{
		{[]string{"--dump", "cert"}, "-----BEGIN CERTIFICATE-----", 1},
		{[]string{"--dump", "bundle"}, "-----BEGIN CERTIFICATE-----", 1},
		{[]string{"--dump", "key"}, "-----BEGIN PRIVATE KEY-----", 1},
		{[]string{"--fetch", "jwt", "--dump", "header"}, `"kid":"key"`, 1},
		{[]string{"--fetch", "jwt"}, ".", 2},
	} {
		got := runCommand(t.Context(), append([]string{"spiffe-client", "--socket", socket}, test.arguments...)...)
		if got.code != exitOK || strings.Count(got.stdout, test.want) != test.count {
			t.Errorf("%s: expected %d times %q, got %+v", test.arguments, test.count, test.want, got)
		}
	}
	got := runCommand(t.Context(), "spiffe-client", "--socket", socket, "--fetch", "jwt", "--audience", "myapp", "--dump", "payload")
	var payload struct {
		Subject  string       `json:"sub"`
		Audience jwt.Audience `json:"aud"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &payload); err != nil || payload.Subject != "spiffe://example.org/api" || !payload.Audience.Contains("myapp") {
		t.Errorf("expected a token of /api for myapp, got %+v (%v)", got, err)
	}
}

func TestSPIFFEClientFiles(t *testing.T) {
	t.Parallel()
	socket, dir := newTrustDomain(t).agent(t, "/api"), t.TempDir()
	for _, fetch := range []string{"x509", "jwt"} {
		if got := runCommand(t.Context(), "spiffe-client", "--socket", socket, "--fetch", fetch, "--write", dir); got.code != exitOK {
			t.Fatalf("%+v", got)
		}
	}
	for file, part := range map[string]string{"svid.0.pem": "cert", "bundle.0.pem": "bundle"} {
		written, err := os.ReadFile(filepath.Join(dir, file))
		printed := runCommand(t.Context(), "spiffe-client", "--socket", socket, "--dump", part)
		if err != nil || string(written) != printed.stdout {
			t.Errorf("%s: expected what --dump %s prints, got %q (%v)", file, part, written, err)
		}
	}
	for _, file := range []string{"svid.0.key", "jwt.0.token"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: expected a file for its owner alone, got %v (%v)", file, info, err)
		}
	}
	if got := runCommand(t.Context(), "spiffe-client", "--socket", socket, "--write", filepath.Join(dir, "none")); got.code != exitFailed {
		t.Errorf("into no folder: expected exit code 1, got %+v", got)
	}
}

func TestSPIFFEClientRefused(t *testing.T) {
	t.Parallel()
	got := runCommand(t.Context(), "spiffe-client", "--socket", nobody(t), "--timeout", "1s")
	if got.code != exitFailed || got.stdout != "" || !strings.Contains(got.stderr, "gave no SVID: ") {
		t.Errorf("expected exit code 1 and why, got %+v", got)
	}
}
