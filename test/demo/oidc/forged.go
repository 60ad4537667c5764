package oidc

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// forged is a token with the subject changed, and the signature as it was.
func forged(token string) string {
	parts := strings.Split(token, ".")
	claims, err := scene.Claims(token)
	if err != nil {
		return token
	}
	claims["sub"] = "spiffe://example.org/ns/spire-oidc/another"
	raw, err := json.Marshal(claims)
	if err != nil {
		return token
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(raw)
	return strings.Join(parts, ".")
}
