package ir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// JWT is what a request's JWT-SVID, in its header Authorization, has to be: for one of the audiences, and of one of the
// subjects. The zero value, in which both are nil, asks for none; otherwise there are both.
type JWT struct {
	Audiences []string
	// Subjects are those that may call. Envoy takes no keys but those of their trust domains.
	Subjects []Peer
}

// IsZero says whether no token is asked for.
func (j JWT) IsZero() bool { return j.Audiences == nil && j.Subjects == nil }

// TrustDomains are those of the subjects, in the order of their names.
func (j JWT) TrustDomains() []spiffeid.TrustDomain {
	var out []spiffeid.TrustDomain
	for _, subject := range j.Subjects {
		out = append(out, subject.TrustDomain())
	}
	slices.SortFunc(out, spiffeid.TrustDomain.Compare)
	return slices.Compact(out)
}

// ParseAudience reads for whom a token is: a path in the own trust domain, a SPIFFE ID, or any other text in printable
// ASCII.
func ParseAudience(own spiffeid.TrustDomain, s string) (string, error) {
	const want = `expected an audience such as "/api", "spiffe://example.org/api" or "api.example.org"`
	if s == "" || !isPrintable(s) {
		return "", fmt.Errorf("%s, in printable ASCII without spaces, got %q", want, s)
	}
	full := s
	if strings.HasPrefix(s, "/") {
		full = own.IDString() + s
	}
	if strings.HasPrefix(full, "spiffe:") {
		if _, err := spiffeid.FromString(full); err != nil {
			return "", fmt.Errorf("%s, got %q: %w", want, s, err)
		}
	}
	return full, nil
}
