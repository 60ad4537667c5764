package oidc

import (
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func TestForgedDiffersInTheSubjectAlone(t *testing.T) {
	const token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImtleTEifQ.eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy9hIiwiYXVkIjoiYiJ9.c2ln"
	before, after := strings.Split(token, "."), strings.Split(forged(token), ".")
	if len(after) != 3 || after[0] != before[0] || after[2] != before[2] {
		t.Fatalf("expected the header and the signature of %s, got %s", token, forged(token))
	}
	claims, err := scene.Claims(forged(token))
	if err != nil || claims["aud"] != "b" || claims["sub"] == "spiffe://example.org/a" {
		t.Errorf("got %v, %v", claims, err)
	}
}
