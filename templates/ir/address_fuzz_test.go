package ir

import "testing"

// An address that is accepted is spelt in one way.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"api.default.svc:8443", "10.0.0.7:8443", "[fd00::7]:1", "[::]:1", "[fe80::1%eth0]:1",
		"A.b:1", "a:0", "a:65536", "https://a:1", "a", ":1", "a b:1", "1.2.3:4", "a.:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q became %q, and that %q (%v)", s, a, again, err)
		}
	})
}
