package ir

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func TestParsePeer(t *testing.T) {
	tests := []struct {
		in   string
		want string // canonical spelling
	}{
		{"/web", "spiffe://example.org/web"},
		{"spiffe://example.org/web", "spiffe://example.org/web"},
		{"/ns/prod/*", "spiffe://example.org/ns/prod/*"},
		{"spiffe://example.org/ns/prod/*", "spiffe://example.org/ns/prod/*"},
		{"/*", "spiffe://example.org/*"},
		{"spiffe://example.org/*", "spiffe://example.org/*"},
		{"/a.b-c_D/1", "spiffe://example.org/a.b-c_D/1"},
	}
	for _, test := range tests {
		peer, err := ParsePeer(exampleOrg, nil, test.in)
		if err != nil {
			t.Errorf("ParsePeer(%q): %v", test.in, err)
			continue
		}
		if got := peer.String(); got != test.want {
			t.Errorf("ParsePeer(%q) = %q, want %q", test.in, got, test.want)
		}
		if again, err := ParsePeer(exampleOrg, nil, peer.String()); err != nil || again != peer {
			t.Errorf("ParsePeer(%q) = %v, %v, want the peer it came from", peer.String(), again, err)
		}
		if peer.TrustDomain() != exampleOrg {
			t.Errorf("ParsePeer(%q).TrustDomain() = %s", test.in, peer.TrustDomain())
		}
		if wantPrefix := test.want[len(test.want)-1] == '*'; peer.IsPrefix() != wantPrefix {
			t.Errorf("ParsePeer(%q).IsPrefix() = %t", test.in, peer.IsPrefix())
		}
	}
}

func TestParsePeerRefuses(t *testing.T) {
	const expected = `expected a path such as "/web", a full SPIFFE ID, or either followed by "/*"`
	const star = `"*" is allowed only as the whole last segment`
	tests := []struct{ in, want string }{
		{"", `peer "": ` + expected + `, got nothing`},
		{"web", `peer "web": ` + expected + `; did you mean "/web"?`},
		{"example.org/web", `peer "example.org/web": ` + expected + `; did you mean "spiffe://example.org/web"?`},
		{"https://example.org/web", `peer "https://example.org/web": ` + expected + `; did you mean "spiffe://example.org/web"?`},
		{"*", `peer "*": ` + expected + `; did you mean "/*"?`},
		{" /web", `peer " /web": ` + expected + `; did you mean "/web"?`},
		{"/web*", `peer "/web*": ` + star + `; did you mean "/web/*"?`},
		{"/*/web", `peer "/*/web": ` + star + `; did you mean "/*"?`},
		{"/ns/*/sa/*", `peer "/ns/*/sa/*": ` + star + `; did you mean "/ns/*"?`},
		{"/web/**", `peer "/web/**": ` + star + `; did you mean "/web/*"?`},
		{"/", `peer "/": names the trust domain, expected a path below it ("/*" stands for all of them)`},
		{"spiffe://example.org", `peer "spiffe://example.org": names the trust domain, expected a path below it ("/*" stands for all of them)`},
		{"/web/", `peer "/web/": path cannot have a trailing slash; did you mean "/web"?`},
		{"//web", `peer "//web": path cannot contain empty segments; did you mean "/web"?`},
		{"//*", `peer "//*": path cannot have a trailing slash; did you mean "/*"?`},
		{"/a/../b", `peer "/a/../b": path cannot contain dot segments; did you mean "/a/b"?`},
		{"/ns/prod space", `peer "/ns/prod space": path segment characters are limited to letters, numbers, dots, dashes, and underscores`},
		{"/w%65b", `peer "/w%65b": path segment characters are limited to letters, numbers, dots, dashes, and underscores`},
		{"spiffe://example.org/web?x=1", `peer "spiffe://example.org/web?x=1": a SPIFFE ID has no query and no fragment, got "?x=1"; did you mean "spiffe://example.org/web"?`},
		{"/web#x", `peer "/web#x": a SPIFFE ID has no query and no fragment, got "#x"; did you mean "/web"?`},
		{"spiffe://example.org:8443/web", `peer "spiffe://example.org:8443/web": a trust domain has no user and no port, got "example.org:8443"; did you mean "spiffe://example.org/web"?`},
		{"spiffe://me@example.org/web", `peer "spiffe://me@example.org/web": a trust domain has no user and no port, got "me@example.org"; did you mean "spiffe://example.org/web"?`},
		{"spiffe://Example.org/web", `peer "spiffe://Example.org/web": expected trust domain "example.org", got "Example.org"; did you mean "spiffe://example.org/web"?`},
		{"SPIFFE://example.org/web", `peer "SPIFFE://example.org/web": ` + expected + `; did you mean "spiffe://example.org/web"?`},
		{"spiffe://other.org/web", `peer "spiffe://other.org/web": expected trust domain "example.org", got "other.org"`},
		{"spiffe://example.org.evil.com/web", `peer "spiffe://example.org.evil.com/web": expected trust domain "example.org", got "example.org.evil.com"`},
		{"spiffe://*/web", `peer "spiffe://*/web": expected trust domain "example.org", got "*"`},
		{"spiffe:///web", `peer "spiffe:///web": expected trust domain "example.org", got ""; did you mean "/web"?`},
	}
	for _, test := range tests {
		peer, err := ParsePeer(exampleOrg, nil, test.in)
		if err == nil {
			t.Errorf("ParsePeer(%q) = %s, want an error", test.in, peer)
		} else if got := err.Error(); got != test.want {
			t.Errorf("ParsePeer(%q)\n got %s\nwant %s", test.in, got, test.want)
		}
	}
}

var auxiliaryOrg = spiffeid.RequireTrustDomainFromString("auxiliary.org")

func TestParseFederatedPeer(t *testing.T) {
	for _, text := range []string{"spiffe://auxiliary.org/web", "spiffe://auxiliary.org/*", "spiffe://auxiliary.org/ns/prod/*"} {
		peer, err := ParsePeer(exampleOrg, []spiffeid.TrustDomain{auxiliaryOrg}, text)
		if err != nil || peer.String() != text || peer.TrustDomain() != auxiliaryOrg {
			t.Errorf("ParsePeer(%q) = %s of %s, %v", text, peer, peer.TrustDomain(), err)
		}
	}
	if peer, err := ParsePeer(exampleOrg, []spiffeid.TrustDomain{auxiliaryOrg}, "/web"); err != nil || peer.TrustDomain() != exampleOrg {
		t.Errorf("a path is of trust domain %s, %v", peer.TrustDomain(), err)
	}
	tests := []struct{ in, want string }{
		{"spiffe://other.org/web", `peer "spiffe://other.org/web": expected trust domain "example.org" or "auxiliary.org", got "other.org"`},
		{"auxiliary.org/web", `peer "auxiliary.org/web": expected a path such as "/web", a full SPIFFE ID, or either followed by "/*"; ` +
			`did you mean "spiffe://auxiliary.org/web"?`},
		{"spiffe://Auxiliary.org/web/", `peer "spiffe://Auxiliary.org/web/": expected trust domain "example.org" or "auxiliary.org", ` +
			`got "Auxiliary.org"; did you mean "spiffe://auxiliary.org/web"?`},
		{"spiffe://auxiliary.org", `peer "spiffe://auxiliary.org": names the trust domain, expected a path below it ("/*" stands for all of them)`},
	}
	for _, test := range tests {
		_, err := ParsePeer(exampleOrg, []spiffeid.TrustDomain{auxiliaryOrg}, test.in)
		if err == nil || err.Error() != test.want {
			t.Errorf("ParsePeer(%q)\n got %v\nwant %s", test.in, err, test.want)
		}
	}
}

func TestPeerMatches(t *testing.T) {
	tests := []struct {
		peer, id string
		want     bool
	}{
		{"/web", "spiffe://example.org/web", true},
		{"/web", "spiffe://example.org/web/x", false},
		{"/web", "spiffe://example.org/webx", false},
		{"/web", "spiffe://other.org/web", false},
		{"/ns/prod/*", "spiffe://example.org/ns/prod/a", true},
		{"/ns/prod/*", "spiffe://example.org/ns/prod/a/b", true},
		{"/ns/prod/*", "spiffe://example.org/ns/prod", false},
		{"/ns/prod/*", "spiffe://example.org/ns/prodx", false},
		{"/ns/prod/*", "spiffe://other.org/ns/prod/a", false},
		{"/*", "spiffe://example.org/web", true},
		{"/*", "spiffe://example.org", false},
		{"/*", "spiffe://example.org.evil.com/web", false},
	}
	for _, test := range tests {
		peer := peers(t, test.peer)[0]
		if got := peer.Matches(spiffeid.RequireFromString(test.id)); got != test.want {
			t.Errorf("%s matches %s: got %t", test.peer, test.id, got)
		}
	}
	if (Peer{}).Matches(spiffeid.ID{}) {
		t.Error("the zero peer matches something")
	}
}
