package intent

import (
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxTrustDomain is how many bytes the name of a trust domain may have (SPIFFE-ID, section 2.1).
const maxTrustDomain = 255

// parseTrustDomainName reads the name of a trust domain; example is one to name in the error.
func parseTrustDomainName(s, example string) (spiffeid.TrustDomain, error) {
	if len(s) > maxTrustDomain {
		return spiffeid.TrustDomain{}, fmt.Errorf("expected a trust domain of at most %d bytes such as %s, got %d: %.40q…",
			maxTrustDomain, example, len(s), s)
	}
	td, err := spiffeid.TrustDomainFromString(s)
	if err != nil {
		return td, fmt.Errorf("expected a trust domain such as %s, got %q: %w", example, s, err)
	}
	return td, nil
}
