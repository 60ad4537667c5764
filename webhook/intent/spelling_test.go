package intent

import "testing"

func TestDidYouMean(t *testing.T) {
	keys := WrittenByUsers()
	tests := []struct {
		written    string
		candidates []string
		want       string
	}{
		{"spiffe.io/alowed-peers", keys, `did you mean "spiffe.io/allowed-peers"?`},
		{"spiffe.io/app_port", keys, `did you mean "spiffe.io/app-port"?`},
		{"spiffe.io/upstream", keys, `did you mean "spiffe.io/upstreams"?`},
		{"spiffe.io/x509-svid-tll", keys, `did you mean "spiffe.io/x509-svid-ttl"?`},
		{"spiffe.io/something-else-entirely", keys, ""},
		{"on", []string{InjectEnabled, InjectDisabled}, ""},
		{"enabled", nil, ""},
		{"ab", []string{"aX", "ab"}, `did you mean "ab"?`}, // the nearest, not the first
		{"ab", []string{"aX", "aY"}, `did you mean "aX"?`}, // of two as near, the first
		{"", []string{"abc"}, ""},
	}
	for _, test := range tests {
		if got := didYouMean(test.written, test.candidates...); got != test.want {
			t.Errorf("didYouMean(%q): expected %q, got %q", test.written, test.want, got)
		}
	}
}
