package scene

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Claims are those of a token, which is not verified.
func Claims(token string) (map[string]any, error) { return tokenPart(token, 1) }

// tokenPart decodes the header (0) or the claims (1) of a signed token.
func tokenPart(token string, part int) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("expected a token of 3 parts, got %d", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		return nil, fmt.Errorf("decoding part %d of a token: %w", part+1, err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("decoding part %d of a token: %w", part+1, err)
	}
	return out, nil
}
