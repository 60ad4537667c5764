package ir

import (
	"strings"
	"testing"
)

// A path that is accepted is spelt in one way, and says nothing that a server would read otherwise. What is proposed
// covers no more than what was written.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/", "/*", "/v1/*", "/v1/users/", "v1", "https://a.b/c?d", "/v1*", "/v1/*/x", "/a//b", "/a/../b",
		"/a/..;/b", "/%2e%2e/", `/a\b`, "/a;b", "/a.b/.c/..", "", "*", "/\x00", "/ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			if near, ok := suggested(t, err); ok {
				if again, err := ParsePath(near); err != nil || again.below && !strings.Contains(s, "*") {
					t.Errorf("%q: proposed %q (%v)", s, near, err)
				}
			}
			return
		}
		if again, err := ParsePath(p.String()); err != nil || again != p || p.String() != s || p.IsZero() {
			t.Errorf("%q became %q, and that %q (%v)", s, p, again, err)
		}
		text := p.text
		if !strings.HasPrefix(text, "/") || p.below && !strings.HasSuffix(text, "/") || len(s) > maxPath ||
			strings.ContainsAny(text, "?#%*;\\ \x00") || strings.Contains(text, "//") || strings.Contains(text+"/", "/./") ||
			strings.Contains(text, "/..") {
			t.Errorf("%q means %q", s, text)
		}
	})
}

// A method that is accepted can stand in a request as it is.
func FuzzParseMethod(f *testing.F) {
	for _, s := range []string{"GET", "get", "M-SEARCH", "", "GET HTTP/1.1\r\n", "É"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseMethod(s)
		if err == nil && (got != s || s == "" || s != strings.ToUpper(s) || !isPrintable(s) || len(s) > maxMethod) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
