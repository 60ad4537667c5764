package ir

import (
	"strings"
	"testing"
)

// A match that is accepted is spelt in one way, and says nothing that Envoy would read otherwise.
func FuzzParseMatch(f *testing.F) {
	for _, s := range []string{"/", "/api", "api.example.org/", "*.example.org/v1", "api", "https://a.b/c?d",
		"a:80/", "/a//b", "/a/../b", "/a/", "*/", "A.b/", "a.b./", "a../", "*./", "/%41", "/*", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMatch(s)
		if err != nil {
			if near, ok := suggested(t, err); ok {
				if _, err := ParseMatch(near); err != nil {
					t.Errorf("%q: proposed %q, which is refused: %v", s, near, err)
				}
			}
			return
		}
		host, path, _ := strings.Cut(s, "/")
		if again, err := ParseMatch(m.String()); err != nil || again != m || m.String() != strings.TrimSuffix(host, ".")+"/"+path {
			t.Errorf("%q became %q, and that %q (%v)", s, m, again, err)
		}
		if prefix := m.PathPrefix(); !strings.HasPrefix(prefix, "/") ||
			len(prefix) > 1 && strings.HasSuffix(prefix, "/") || strings.ContainsAny(prefix, "?#%* \t\n") {
			t.Errorf("%q has the path prefix %q", s, prefix)
		}
		if host := m.Host(); host != strings.ToLower(host) || strings.ContainsAny(host, ":/ ") || strings.LastIndex(host, "*") > 0 {
			t.Errorf("%q has the host %q", s, host)
		}
	})
}
