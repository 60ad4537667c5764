package ir

import (
	"testing"
)

func TestParseMatch(t *testing.T) {
	tests := []struct{ in, host, path string }{
		{"api.example.org./v1", "api.example.org", "/v1"},
		{"*.example.org./", "*.example.org", "/"},
		{"/", "", "/"},
		{"/api", "", "/api"},
		{"/api/v1.2/~a:b@c", "", "/api/v1.2/~a:b@c"},
		{"api.example.org/", "api.example.org", "/"},
		{"api.example.org/API", "api.example.org", "/API"},
		{"*.example.org/v1", "*.example.org", "/v1"},
		{"10.0.0.7.nip.example/", "10.0.0.7.nip.example", "/"},
	}
	for _, test := range tests {
		got, err := ParseMatch(test.in)
		if err != nil {
			t.Errorf("ParseMatch(%q): %v", test.in, err)
			continue
		}
		if got.Host() != test.host || got.PathPrefix() != test.path || got.String() != test.host+test.path {
			t.Errorf("ParseMatch(%q) = %s (host %q, path %q)", test.in, got, got.Host(), got.PathPrefix())
		}
	}
}

func TestParseMatchRefuses(t *testing.T) {
	const want = `: expected a path prefix such as "/api", or a host and a path prefix such as "api.example.org/"`
	const host = `: expected a DNS name in lower case, or one after "*.", got `
	const empty = `: expected a path without empty segments and without a final slash; did you mean `
	tests := []struct{ in, want string }{
		{"", want + `; did you mean "/"?`},
		{"api.example.org", want + `; did you mean "api.example.org/"?`},
		{"https://api.example.org/x", want + `, without a scheme; did you mean "api.example.org/x"?`},
		{"api.example.org:8443/", `: expected the host without a port, because each port matches: "api.example.org"; did you mean "api.example.org/"?`},
		{"API.example.org/", host + `"API.example.org"; did you mean "api.example.org/"?`},
		{"API.example.org./", host + `"API.example.org."; did you mean "api.example.org/"?`},
		{"api.example.org../", host + `"api.example.org.."; did you mean "api.example.org/"?`},
		{"./", host + `"."; did you mean "/"?`},
		{"*./", host + `"*."`},
		{"*/x", host + `"*"`},
		{"a.*.org/", host + `"a.*.org"`},
		{"*.*.org/", host + `"*.*.org"`},
		{"a_b/", host + `"a_b"`},
		{"10.0.0.7/", host + `"10.0.0.7"`},
		{"/api/", empty + `"/api"?`},
		{"//api", empty + `"/api"?`},
		{"/api/../x", `: expected a path without dot segments; did you mean "/api/x"?`},
		{"/api?x=1", `: expected a path without query and fragment, got "?x=1"; did you mean "/api"?`},
		{"/api/*", `: expected a path of letters, digits, slashes and -._~!$&'()+,;=:@; did you mean "/api"?`},
		{"/a%2fb", `: expected a path of letters, digits, slashes and -._~!$&'()+,;=:@`},
		{"/a b", `: expected a path of letters, digits, slashes and -._~!$&'()+,;=:@`},
	}
	for _, test := range tests {
		got, err := ParseMatch(test.in)
		want := `match "` + test.in + `"` + test.want
		if err == nil {
			t.Errorf("ParseMatch(%q) = %s, want an error", test.in, got)
		} else if err.Error() != want {
			t.Errorf("ParseMatch(%q)\n got %s\nwant %s", test.in, err, want)
		}
	}
}
