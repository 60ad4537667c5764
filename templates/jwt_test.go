package templates

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/google/go-cmp/cmp"
)

// TestTokensAreCheckedByRequest reads the rules for tokens as people would.
func TestTokensAreCheckedByRequest(t *testing.T) {
	filter := all[*httprbacv3.RBAC](t, "jwt", cases(t)["jwt"])[0]
	got := map[string]string{}
	for kind, rules := range map[string]*rbacv3.RBAC{"": filter.GetRules(), "audited ": filter.GetShadowRules()} {
		for port, policy := range rules.GetPolicies() {
			got[kind+port] = who(&rbacv3.Principal_Set{Ids: policy.GetPrincipals()})
		}
	}
	want := map[string]string{
		"inbound_8443":         "((spiffe://example.org/web) and (spiffe://example.org/web by example.org or spiffe://example.org/ns/prod/* by example.org))",
		"inbound_8444":         "((anyone authenticated or not anyone authenticated) and (spiffe://example.org/* by example.org))",
		"audited inbound_8444": "((spiffe://example.org/web or not anyone authenticated) and (spiffe://example.org/web by example.org))",
		"inbound_8445":         "(spiffe://example.org/web by example.org or spiffe://auxiliary.org/* by auxiliary.org)",
		"inbound_8446":         "(spiffe://example.org/admin)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// who writes down a rule.
func who(set *rbacv3.Principal_Set) string {
	var out []string
	for _, p := range set.GetIds() {
		switch of := p.GetIdentifier().(type) {
		case *rbacv3.Principal_Authenticated_:
			if name := of.Authenticated.GetPrincipalName(); name != nil {
				out = append(out, spelling(name))
			} else {
				out = append(out, "anyone authenticated")
			}
		case *rbacv3.Principal_NotId:
			out = append(out, "not "+strings.Trim(who(&rbacv3.Principal_Set{Ids: []*rbacv3.Principal{of.NotId}}), "()"))
		case *rbacv3.Principal_OrIds:
			out = append(out, who(of.OrIds))
		case *rbacv3.Principal_AndIds:
			var parts []string
			for _, part := range of.AndIds.GetIds() {
				parts = append(parts, strings.TrimSuffix(strings.TrimPrefix(who(&rbacv3.Principal_Set{Ids: []*rbacv3.Principal{part}}), "("), ")"))
			}
			out = append(out, strings.Join(parts, " and "))
		case *rbacv3.Principal_SourcedMetadata:
			m := of.SourcedMetadata.GetMetadataMatcher()
			out = append(out, fmt.Sprintf("%s by %s", spelling(m.GetValue().GetStringMatch()), m.GetPath()[0].GetKey()))
		default:
			out = append(out, fmt.Sprintf("%T", of))
		}
	}
	return "(" + strings.Join(out, " or ") + ")"
}

// TestTokensAreVerifiedBeforeTheyAreLookedAt: what the rules read comes from the filter before them, of the trust
// domains meant.
func TestTokensAreVerifiedBeforeTheyAreLookedAt(t *testing.T) {
	var got []string
	for _, manager := range all[*hcmv3.HttpConnectionManager](t, "jwt", cases(t)["jwt"]) {
		filters := manager.GetHttpFilters()
		config := &jwtv3.JwtAuthentication{}
		if filters[0].GetTypedConfig().UnmarshalTo(config) != nil {
			continue
		}
		if filters[1].GetName() != authorizationName || filters[1].GetConfigDiscovery() == nil {
			t.Errorf("%s: expected authorization behind authentication, got %v", manager.GetStatPrefix(), filters)
		}
		var domains []string
		for key, provider := range config.GetProviders() {
			if provider.GetPayloadInMetadata() != key || !provider.GetRequireExpiration() || provider.GetForward() || len(provider.GetAudiences()) == 0 ||
				len(provider.GetFromHeaders()) != 1 || !strings.HasSuffix(provider.GetRemoteJwks().GetHttpUri().GetUri(), "/"+key) {
				t.Errorf("%s: provider %s: %v", manager.GetStatPrefix(), key, provider)
			}
			domains = append(domains, key)
		}
		slices.Sort(domains)
		got = append(got, manager.GetStatPrefix()+" "+strings.Join(domains, " "))
	}
	want := []string{"inbound_8443 example.org", "inbound_8444 example.org", "plain_8444 example.org", "inbound_8445 auxiliary.org example.org"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports and trust domains (-want +got):\n%s", diff)
	}
}

func TestTokenFilesDiffer(t *testing.T) {
	a, b := TokenFile("spiffe://example.org/api"), TokenFile("../../etc/passwd")
	if a == b || strings.ContainsAny(a+b, "/") || a != TokenFile("spiffe://example.org/api") {
		t.Errorf("expected two names of files, got %q and %q", a, b)
	}
}
