package ir

import (
	"slices"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func TestParsePath(t *testing.T) {
	for _, test := range []struct{ in, exact, prefix string }{
		{in: "/", exact: "/"},
		{in: "/v1/users", exact: "/v1/users"},
		{in: "/v1/users/", exact: "/v1/users/"},
		{in: "/v1/*", prefix: "/v1/"},
		{in: "/*", prefix: "/"},
		{in: "/pkg.Service/Method", exact: "/pkg.Service/Method"},
		{in: "/pkg.v1.Service/*", prefix: "/pkg.v1.Service/"},
		{in: "/a...b/.c/d..", exact: "/a...b/.c/d.."},
	} {
		p, err := ParsePath(test.in)
		exact, one := p.Exact()
		prefix, below := p.Prefix()
		if err != nil || p.String() != test.in || one == below ||
			one && exact != test.exact || below && prefix != test.prefix || p.IsEverything() != (test.in == "/*") {
			t.Errorf("ParsePath(%q) = %q, exact %q %t, prefix %q %t, %v", test.in, p, exact, one, prefix, below, err)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	const (
		want = `: expected a path such as "/v1/users", or one followed by "/*"`
		star = `: "*" is allowed only as the whole last segment`
		dots = `: expected a path without dot segments`
		set  = `: expected a path of letters, digits, slashes and -._~!$&'()+,=:@`
	)
	for _, test := range []struct{ in, want string }{
		{"", want + `; did you mean "/"?`},
		{"v1/users", want + `; did you mean "/v1/users"?`},
		{"*", want + `; did you mean "/*"?`},
		{"https://api.example.org/v1?a=b", want + `; did you mean "/v1"?`},
		{"/v1*", star + `; did you mean "/v1/*"?`},
		{"/v1/**", star + `; did you mean "/v1/*"?`},
		{"/v1/*/x", star},
		{"/*/v1/*", star},
		{"/v1?a=b", `: expected a path without query and fragment: a query is never compared; did you mean "/v1"?`},
		{"/v1//a", `: expected a path without empty segments; did you mean "/v1/a"?`},
		{"//*", `: expected a path without empty segments; did you mean "/*"?`},
		{"/v1/./a/", dots + `; did you mean "/v1/a/"?`},
		{"/v1/../a", dots},
		{"/v1/..;/a", set},
		{"/v1/..a/*", dots},
		{"/v1;x/*", set},
		{"/v1/%41", `: expected a path without "%": a letter has many spellings of that kind`},
		{"/v1/{id}", set},
		{"/ü", set},
		{"/a b", set},
		{`/a\b`, set},
		{"/\x00", set},
		{" /v1/* ", want + `; did you mean "/v1/*"?`},
	} {
		_, err := ParsePath(test.in)
		if err == nil {
			t.Errorf("ParsePath(%q) is accepted", test.in)
			continue
		}
		if _, got, _ := strings.Cut(err.Error(), `path `); !strings.HasSuffix(got, test.want) || !strings.HasPrefix(got, `"`) {
			t.Errorf("ParsePath(%q)\n got %s\nwant %s", test.in, got, test.want)
		}
	}
	long := "/" + strings.Repeat("a", maxPath)
	if _, err := ParsePath(long[:maxPath]); err != nil {
		t.Error(err)
	}
	if _, err := ParsePath(long); err == nil || len(err.Error()) > 200 {
		t.Errorf("a path of %d bytes: %v", len(long), err)
	}
}

func TestParseMethod(t *testing.T) {
	for _, s := range append(Methods(), "M-SEARCH", "X", "BASELINE_CONTROL2") {
		if got, err := ParseMethod(s); err != nil || got != s {
			t.Errorf("ParseMethod(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "get", "Get", "*", "GET ", "GET\n", "GET,POST", "1GET", "-", "É", strings.Repeat("M", maxMethod+1), "CONNECT"} {
		if _, err := ParseMethod(s); err == nil || len(err.Error()) > 200 {
			t.Errorf("ParseMethod(%q): %v", s, err)
		}
	}
}

// TestCovers holds Covers against Matches: of what a peer covers, it matches every ID.
func TestCovers(t *testing.T) {
	all := peers(t, "/*", "/ns/*", "/ns/prod/*", "/ns/prod/a", "/ns/prod", "/ns/prodx", "/nsx/*", "/web",
		"spiffe://auxiliary.org/*", "spiffe://auxiliary.org/web")
	ids := []string{"/ns/prod/a", "/ns/prod/a/b", "/ns/prod", "/ns/prodx", "/nsx/a", "/web", "/other"}
	for _, p := range all {
		for _, other := range all {
			every := true
			for _, domain := range []spiffeid.TrustDomain{exampleOrg, auxiliaryOrg} {
				for _, path := range ids {
					id := spiffeid.RequireFromPath(domain, path)
					every = every && (!other.Matches(id) || p.Matches(id))
				}
			}
			if got := p.Covers(other); got != every {
				t.Errorf("%s covers %s: %t, want %t", p, other, got, every)
			}
		}
	}
	if (Peer{}).Covers(all[0]) || all[0].Covers(Peer{}) {
		t.Error("the zero value covers, or is covered")
	}
}

func TestCallers(t *testing.T) {
	in := Inbound{Peers: peers(t, "/a", "/b"), Rules: []Rule{
		{Item: 1, Peer: peers(t, "/c")[0], Methods: []string{"GET"}},
		{Item: 3, Peer: peers(t, "/c")[0], Methods: []string{"PUT"}},
	}}
	if got, want := in.Callers(), peers(t, "/a", "/b", "/c"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if in.ComparesPaths() || !(Proxy{Inbound: []Inbound{in}}).HasRules() {
		t.Error("compares paths, or has no rules")
	}
	if len(in.Peers) != 2 {
		t.Errorf("the peers became %v", in.Peers)
	}
}
