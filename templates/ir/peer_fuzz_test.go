package ir

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var (
	fuzzDomain    = spiffeid.RequireTrustDomainFromString("example.org")
	fuzzFederated = []spiffeid.TrustDomain{spiffeid.RequireTrustDomainFromString("auxiliary.org")}
)

// suggestion is the spelling that a message proposes.
var suggestion = regexp.MustCompile(`did you mean ("(?:[^"\\]|\\.)*")\?$`)

// suggested is that spelling, if there is one.
func suggested(t *testing.T, err error) (string, bool) {
	t.Helper()
	found := suggestion.FindStringSubmatch(err.Error())
	if found == nil {
		return "", false
	}
	text, err := strconv.Unquote(found[1])
	if err != nil {
		t.Fatalf("%s: %v", found[1], err)
	}
	return text, true
}

// A peer that is accepted is spelt in one way, is of a known domain, and never covers more than what is below its path.
func FuzzParsePeer(f *testing.F) {
	for _, s := range []string{"/web", "/ns/prod/*", "/*", "spiffe://example.org/a/b", "spiffe://auxiliary.org/*",
		"spiffe://other.org/x", "web", "/a/../b",
		"/web*", "spiffe://example.org", "spiffe://Example.org/x", "spiffe://user@example.org:80/x?q#f",
		"/a//b/", "https://example.org/x", "", "*", "/\x00", "/ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePeer(fuzzDomain, fuzzFederated, s)
		if err != nil {
			if near, ok := suggested(t, err); ok {
				if _, err := ParsePeer(fuzzDomain, fuzzFederated, near); err != nil {
					t.Errorf("%q: proposed %q, which is refused: %v", s, near, err)
				}
			}
			return
		}
		if again, err := ParsePeer(fuzzDomain, fuzzFederated, p.String()); err != nil || again != p {
			t.Errorf("%q became %q, and that %q (%v)", s, p, again, err)
		}
		if td := p.TrustDomain(); td != fuzzDomain && td != fuzzFederated[0] {
			t.Errorf("%q is of %s", s, td)
		}
		for _, other := range []string{"spiffe://other.org/x", "spiffe://example.org.evil.org/x"} {
			if p.Matches(spiffeid.RequireFromString(other)) {
				t.Errorf("%q covers %s", s, other)
			}
		}
		if id := p.id.String() + "x"; p.id.Path() != "" {
			if sibling, err := spiffeid.FromString(id); err == nil && p.Matches(sibling) {
				t.Errorf("%q covers its sibling %s", s, sibling)
			}
		}
	})
}
