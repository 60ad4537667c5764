package intent

import (
	"strings"
	"testing"
)

func TestParseClaims(t *testing.T) {
	const (
		badPath = "expected a path such as /api or /team/*, got "
		nobody  = "expected at least one, or * for all, got none"
	)
	tests := []struct{ name, claim, want string }{
		{"a path", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/api]", ""},
		{"a prefix", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/team/*]", ""},
		{"everything", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/*]", ""},
		{"no namespace", "serviceAccounts: ['*'], paths: [/api]", "namespaces: " + nobody},
		{"an empty list of namespaces", "namespaces: [], serviceAccounts: ['*'], paths: [/api]", "namespaces: " + nobody},
		{"no account", "namespaces: ['*'], paths: [/api]", "serviceAccounts: " + nobody},
		{"for nothing", "namespaces: ['*'], serviceAccounts: ['*'], paths: []",
			"flags: expected at least one of paths, dnsNames and flags, got none"},
		{"an empty path", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/api, '']", "paths[1]: " + badPath + `""`},
		{"no slash", "namespaces: ['*'], serviceAccounts: ['*'], paths: [api]", "paths[0]: " + badPath + `"api"`},
		{"star alone", "namespaces: ['*'], serviceAccounts: ['*'], paths: ['*']", "paths[0]: " + badPath + `"*"`},
		{"star in a segment", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/api*]",
			"paths[0]: " + badPath + `"/api*"`},
		{"star in the middle", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/ns/*/sa/x]",
			"paths[0]: " + badPath + `"/ns/*/sa/x"`},
		{"dots", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/team/../*]", "paths[0]: " + badPath + `"/team/../*"`},
		{"trailing slash", "namespaces: ['*'], serviceAccounts: ['*'], paths: [/team/]", "paths[0]: " + badPath + `"/team/"`},
		{"a full ID", "namespaces: ['*'], serviceAccounts: ['*'], paths: ['spiffe://example.org/api']",
			"paths[0]: " + badPath + `"spiffe://example.org/api"`},
		{"a DNS name", "namespaces: ['*'], serviceAccounts: ['*'], dnsNames: [api.example.org, '*.shop.example.org']", ""},
		{"a bad DNS name", "namespaces: ['*'], serviceAccounts: ['*'], dnsNames: ['*']",
			`dnsNames[0]: expected a name such as api.example.org or *.example.org, got "*"`},
		{"flags", "namespaces: ['*'], serviceAccounts: ['*'], flags: [admin, downstream]", ""},
		{"a bad flag", "namespaces: ['*'], serviceAccounts: ['*'], flags: [admin, root]",
			`flags[1]: expected downstream or admin, got "root"`},
		{"a misspelt flag", "namespaces: ['*'], serviceAccounts: ['*'], flags: [admn]",
			`flags[0]: expected downstream or admin, got "admn"; did you mean "admin"?`},
		{"no list", "namespaces: '*', serviceAccounts: ['*'], paths: [/api]", `namespaces: expected a list, got "*"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const of = "{namespaces: [demo], serviceAccounts: [\"*\"], paths: [/api]}"
			text := strings.Replace(platformText, of, of+"\n  - {"+test.claim+"}", 1)
			if text == platformText {
				t.Fatalf("the file has no claim %s", of)
			}
			_, err := ParsePlatform([]byte(text))
			want := test.want
			if want != "" {
				want = "identity.claims[1]." + want
			}
			wantError(t, err, want)
		})
	}
}
