package intent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var exampleOrg = spiffeid.RequireTrustDomainFromString("example.org")

// wantError checks the whole text of an error; "" wants none.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("expected the error %q, got %q", want, got)
	}
}

func TestAuthorize(t *testing.T) {
	claims := []Claim{
		{Namespaces: []string{"demo"}, ServiceAccounts: []string{"*"}, Paths: []string{"/api", "/team/*"}},
		{Namespaces: []string{"*"}, ServiceAccounts: []string{"gateway"}, Paths: []string{"/edge"}},
		{Namespaces: []string{"ops"}, ServiceAccounts: []string{"root"}, Paths: []string{"/*"}},
	}
	const (
		yes      = ""
		noClaim  = "has no claim to"
		reserved = "is reserved: no workload may hold an identity under"
		foreign  = "expected an identity of trust domain example.org, got"
	)
	tests := []struct {
		name, namespace, account, id string
		want                         string
	}{
		{"own namespace", "demo", "default", "spiffe://example.org/ns/demo/sa/x", yes},
		{"own namespace, deeper", "demo", "default", "spiffe://example.org/ns/demo/a/b/c", yes},
		{"the namespace itself", "demo", "default", "spiffe://example.org/ns/demo", noClaim},
		{"another namespace", "demo", "default", "spiffe://example.org/ns/prod/sa/x", noClaim},
		{"a namespace with ours as its beginning", "demo", "default", "spiffe://example.org/ns/demo-2/sa/x", noClaim},
		{"a namespace that is the beginning of ours", "demo", "default", "spiffe://example.org/ns/dem/sa/x", noClaim},
		{"our namespace further down", "demo", "default", "spiffe://example.org/x/ns/demo/sa/x", noClaim},
		{"other letters", "demo", "default", "spiffe://example.org/ns/Demo/sa/x", noClaim},

		{"claimed", "demo", "default", "spiffe://example.org/api", yes},
		{"below what is claimed", "demo", "default", "spiffe://example.org/api/v2", noClaim},
		{"looks like what is claimed", "demo", "default", "spiffe://example.org/api2", noClaim},
		{"the beginning of what is claimed", "demo", "default", "spiffe://example.org/ap", noClaim},
		{"claimed by another namespace", "prod", "default", "spiffe://example.org/api", noClaim},
		{"claimed prefix", "demo", "default", "spiffe://example.org/team/a/b", yes},
		{"the prefix itself", "demo", "default", "spiffe://example.org/team", noClaim},
		{"looks like the prefix", "demo", "default", "spiffe://example.org/teams/a", noClaim},
		{"claimed by an account of any namespace", "prod", "gateway", "spiffe://example.org/edge", yes},
		{"claimed by another account", "prod", "default", "spiffe://example.org/edge", noClaim},
		{"an account that is called *", "prod", "*", "spiffe://example.org/edge", noClaim},

		{"another trust domain, own namespace", "demo", "default", "spiffe://example.com/ns/demo/sa/x", foreign},
		{"a trust domain below ours", "demo", "default", "spiffe://sub.example.org/api", foreign},
		{"reserved, whatever is claimed", "ops", "root", "spiffe://example.org/spire/server", reserved},
		{"reserved itself", "ops", "root", "spiffe://example.org/spire", reserved},
		{"the injector's own", "ops", "root", "spiffe://example.org/spire-injector/demo-cluster/node", reserved},
		{"looks like what is reserved", "ops", "root", "spiffe://example.org/spires/x", yes},
		{"anything is claimed", "ops", "root", "spiffe://example.org/ns/prod/sa/x", yes},
	}
	full := map[string]string{
		noClaim: "service account default of namespace demo has no claim to spiffe://example.org/api2; " +
			"use an identity under /ns/demo/, " +
			"or ask the platform team for {namespaces: [demo], serviceAccounts: [default], paths: [/api2]} " +
			"in identity.claims of the platform file",
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := Subject{Namespace: test.namespace, ServiceAccount: test.account}
			err := Authorize(exampleOrg, claims, s, spiffeid.RequireFromString(test.id))
			wantErrorWith(t, err, test.want)
			if test.id == "spiffe://example.org/api2" {
				wantError(t, err, full[noClaim])
			}
		})
	}
}

func TestParseIDTemplate(t *testing.T) {
	tests := []struct{ text, want string }{
		{"/ns/{namespace}/sa/{serviceAccount}", ""},
		{"/{label:app.kubernetes.io/name}", ""},
		{"/fixed", ""},
		{"/pre-{namespace}.{label:app}", ""},
		{"/{namspace}",
			`template "/{namspace}": expected the variables {namespace}, {serviceAccount} or {label:KEY}, got {namspace}`},
		{"/{label:}",
			`template "/{label:}": expected the variables {namespace}, {serviceAccount} or {label:KEY}, got {label:}`},
		{"/{}", `template "/{}": expected the variables {namespace}, {serviceAccount} or {label:KEY}, got {}`},
		{"/{namespace", `template "/{namespace": expected a path such as /ns/{namespace}/sa/{serviceAccount}`},
		{"{namespace}", `template "{namespace}": expected a path such as /ns/{namespace}/sa/{serviceAccount}`},
		{"", `template "": expected a path such as /ns/{namespace}/sa/{serviceAccount}`},
		{"/a/../{namespace}", `template "/a/../{namespace}": expected a path such as /ns/{namespace}/sa/{serviceAccount}`},
		{"/{namespace}/", `template "/{namespace}/": expected a path such as /ns/{namespace}/sa/{serviceAccount}`},
	}
	for _, test := range tests {
		_, err := ParseIDTemplate(test.text)
		wantError(t, err, test.want)
	}
}

func TestDefaultID(t *testing.T) {
	templates := func(texts ...string) []IDTemplate {
		var ts []IDTemplate
		for _, text := range texts {
			parsed, err := ParseIDTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			ts = append(ts, parsed)
		}
		return ts
	}
	labels := map[string]string{"app": "api", "empty": "", "dots": "..", "braces": "{namespace}"}
	s := Subject{Namespace: "demo", ServiceAccount: "default", Labels: labels}
	tests := []struct {
		name      string
		templates []IDTemplate
		want      string
		wantErr   string // part of it
	}{
		{"all variables", templates("/{namespace}/{serviceAccount}/{label:app}"), "spiffe://example.org/demo/default/api",
			""},
		{"one variable twice", templates("/{namespace}-{namespace}"), "spiffe://example.org/demo-demo", ""},
		{"the first that is complete", templates("/{label:none}", "/{label:empty}", "/{label:app}", "/{namespace}"),
			"spiffe://example.org/api", ""},
		{"only the last variable exists", templates("/{label:none}/{namespace}", "/{namespace}"), "spiffe://example.org/demo", ""},
		{"none is complete", templates("/{label:none}"), "",
			"no template of the platform's identity.templates applies to this pod; write the annotation " +
				"spiffe.io/spiffe-id"},
		{"a label that climbs", templates("/ns/{label:dots}/x"), "", "path cannot contain dot segments"},
		{"a label that is a variable is not expanded again", templates("/{label:braces}"), "",
			"path segment characters are limited"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id, err := defaultID(exampleOrg, test.templates, s)
			wantErrorWith(t, err, test.wantErr)
			if id.String() != test.want {
				t.Errorf("expected %q, got %q", test.want, id)
			}
		})
	}
}

func TestParseID(t *testing.T) {
	longest := "/" + strings.Repeat("x", 2048-len("spiffe://example.org/"))
	tests := []struct{ text, want, wantErr string }{
		{"/api", "spiffe://example.org/api", ""},
		{"spiffe://example.org/api", "spiffe://example.org/api", ""},
		{"spiffe://example.com/api", "spiffe://example.com/api", ""}, // refused by Authorize, which knows why
		{"", "", `expected a path such as /api or a SPIFFE ID such as spiffe://example.org/api, got "": `},
		{"api", "", `; did you mean "/api"?`},
		{"team//api/", "", `; did you mean "/team/api"?`},
		{"https://example.org/api", "", `got "https://example.org/api": scheme is missing or invalid`},
		{"spiffe://example.org", "", `expected a path after the trust domain, got "spiffe://example.org"`},
		{"/a/../b", "", "path cannot contain dot segments"},
		{"/api?x", "", "path segment characters are limited"},
		{"/", "", "path cannot have a trailing slash"},
		{longest, "spiffe://example.org" + longest, ""},
		{longest + "x", "", "expected a SPIFFE ID of at most 2048 bytes, got 2049: "},
	}
	for _, test := range tests {
		id, err := parseID(exampleOrg, test.text)
		wantErrorWith(t, err, test.wantErr)
		if id.String() != test.want {
			t.Errorf("%q: expected %q, got %q", test.text, test.want, id)
		}
	}
}

func TestAuthorizeDNSNamesAndFlags(t *testing.T) {
	claims := []Claim{
		{Namespaces: []string{"demo"}, ServiceAccounts: []string{"web"},
			DNSNames: []string{"api.example.org", "*.shop.example.org"}, Flags: []Flag{FlagDownstream}},
		{Namespaces: []string{"demo"}, ServiceAccounts: []string{"*"}, Paths: []string{"/*"}},
	}
	web, other := Subject{Namespace: "demo", ServiceAccount: "web"}, Subject{Namespace: "demo", ServiceAccount: "other"}
	const refused = "service account %s of namespace demo has no claim to %s; ask the platform team for " +
		"{namespaces: [demo], serviceAccounts: [%s], %s} in identity.claims of the platform file"
	for _, test := range []struct {
		s    Subject
		name string
		ok   bool
	}{
		{web, "api.example.org", true},
		{web, "a.shop.example.org", true},
		{web, "a.b.shop.example.org", true},
		{web, "shop.example.org", false},
		{web, "evilshop.example.org", false},
		{web, "api.example.org.evil.org", false},
		{other, "api.example.org", false},
	} {
		account := test.s.ServiceAccount
		want := fmt.Sprintf(refused, account, "the DNS name "+test.name, account, "dnsNames: ["+test.name+"]")
		if test.ok {
			want = ""
		}
		wantError(t, AuthorizeDNSName(claims, test.s, test.name), want)
	}
	wantError(t, AuthorizeFlag(claims, web, FlagDownstream), "")
	wantError(t, AuthorizeFlag(claims, web, FlagAdmin),
		fmt.Sprintf(refused, "web", "the flag admin", "web", "flags: [admin]"))
	wantError(t, AuthorizeFlag(claims, other, FlagDownstream),
		fmt.Sprintf(refused, "other", "the flag downstream", "other", "flags: [downstream]"))
}
