package scene

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeysAreEqualWhoeverShowsThem(t *testing.T) {
	spiffe, err := ParseKeys([]byte(`{"keys": [
		{"use": "x509-svid", "kty": "EC", "x": "r", "x5c": ["root"]},
		{"use": "jwt-svid", "kty": "EC", "kid": "a", "crv": "P-256", "x": "1", "y": "2"}
	], "spiffe_sequence": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	oidc, err := ParseKeys([]byte(`{"keys": [{"use": "sig", "alg": "ES256", "y": "2", "x": "1", "crv": "P-256", "kid": "a", "kty": "EC"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spiffe.JWT, oidc.JWT); diff != "" {
		t.Errorf("expected the same key (-spiffe +oidc):\n%s", diff)
	}
	if len(spiffe.X509) != 1 || len(oidc.X509) != 0 {
		t.Errorf("got %d and %d keys of certificates, expected 1 and 0", len(spiffe.X509), len(oidc.X509))
	}
	other, err := ParseKeys([]byte(`{"keys": [{"kty": "EC", "kid": "a", "crv": "P-256", "x": "1", "y": "3"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(other.JWT, oidc.JWT) {
		t.Error("another key with the same ID is taken for the key")
	}
	if _, err := ParseKeys([]byte("no")); err == nil {
		t.Error("expected an error for what is no JWKS")
	}
}

func TestFetchedToken(t *testing.T) {
	const token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImtleTEifQ.eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy9hIn0.c2ln"
	id, got, err := parseFetched("token(spiffe://example.org/a):\n\t" + token + "\nbundle(spiffe://example.org):\n\t{}\n")
	if err != nil || id != "spiffe://example.org/a" || got != token {
		t.Errorf("got %q, %q, %v", id, got, err)
	}
	if key, err := keyOf(token); key != "key1" || err != nil {
		t.Errorf("key: got %q, %v", key, err)
	}
	claims, err := Claims(token)
	if err != nil || claims["sub"] != "spiffe://example.org/a" {
		t.Errorf("claims: got %v, %v", claims, err)
	}
	for _, bad := range []string{"", "a.b", "a.!.c", "e30.e30"} {
		if _, err := keyOf(bad); err == nil {
			t.Errorf("%q: expected an error", bad)
		}
	}
	if _, _, err := parseFetched("no identity issued"); err == nil {
		t.Error("expected an error for an answer without a token")
	}
}
