package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
)

// jwtParts are those of a JWT-SVID: HEADER.PAYLOAD.SIGNATURE, of which the first two are JSON.
func jwtParts(token string) (svidParts, error) {
	pieces := strings.Split(token, ".")
	if len(pieces) != 3 {
		return svidParts{}, fmt.Errorf("expected a token of three parts, got %d", len(pieces))
	}
	parts := svidParts{text: map[string]string{"": token + "\n"}, files: map[string]string{"jwt.0.token": ""}}
	for i, name := range []string{"header", "payload"} {
		decoded, err := base64.RawURLEncoding.DecodeString(pieces[i])
		if err != nil {
			return svidParts{}, fmt.Errorf("the token's %s: %w", name, err)
		}
		parts.text[name] = string(decoded) + "\n"
	}
	return parts, nil
}

func encodeCertificates(certificates []*x509.Certificate) string {
	var out strings.Builder
	for _, c := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.String()
}
