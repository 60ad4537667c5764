package templates

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// asked is a request, and who makes it: nobody if there is no ID.
type asked struct {
	port         uint16
	id           spiffeid.ID
	method, path string
}

// first is the policy that a request is decided by: the first that matches, in the order of their names, as Envoy does
// it. It knows what rules are made of.
func (a asked) first(t *testing.T, rules *rbacv3.RBAC) string {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(rules.GetPolicies())) {
		policy := rules.GetPolicies()[name]
		if slices.ContainsFunc(policy.GetPermissions(), func(p *rbacv3.Permission) bool { return a.isAllowed(t, p) }) &&
			slices.ContainsFunc(policy.GetPrincipals(), func(p *rbacv3.Principal) bool { return a.isBy(t, p) }) {
			return name
		}
	}
	return ""
}

func (a asked) isAllowed(t *testing.T, p *rbacv3.Permission) bool {
	t.Helper()
	all := func(of []*rbacv3.Permission, want bool) bool { // whether each is as wanted
		return !slices.ContainsFunc(of, func(p *rbacv3.Permission) bool { return a.isAllowed(t, p) != want })
	}
	switch rule := p.GetRule().(type) {
	case *rbacv3.Permission_DestinationPort:
		return rule.DestinationPort == uint32(a.port)
	case *rbacv3.Permission_AndRules:
		return all(rule.AndRules.GetRules(), true)
	case *rbacv3.Permission_OrRules:
		return !all(rule.OrRules.GetRules(), false)
	case *rbacv3.Permission_NotRule:
		return !a.isAllowed(t, rule.NotRule)
	case *rbacv3.Permission_Header:
		return rule.Header.GetName() == ":method" && isMatch(rule.Header.GetStringMatch(), a.method)
	case *rbacv3.Permission_UrlPath:
		path, _, _ := strings.Cut(a.path, "?")
		return isMatch(rule.UrlPath.GetPath(), path)
	}
	t.Fatalf("%T is of no rule", p.GetRule())
	return false
}

func (a asked) isBy(t *testing.T, p *rbacv3.Principal) bool {
	t.Helper()
	by := func(p *rbacv3.Principal) bool { return a.isBy(t, p) }
	switch who := p.GetIdentifier().(type) {
	case *rbacv3.Principal_Authenticated_:
		name := who.Authenticated.GetPrincipalName()
		return !a.id.IsZero() && (name == nil || isMatch(name, a.id.String()))
	case *rbacv3.Principal_AndIds:
		return !slices.ContainsFunc(who.AndIds.GetIds(), func(p *rbacv3.Principal) bool { return !by(p) })
	case *rbacv3.Principal_OrIds:
		return slices.ContainsFunc(who.OrIds.GetIds(), by)
	case *rbacv3.Principal_NotId:
		return !by(who.NotId)
	}
	t.Fatalf("%T is of no rule", p.GetIdentifier())
	return false
}

func isMatch(m *matcherv3.StringMatcher, s string) bool {
	switch pattern := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return s == pattern.Exact
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(s, pattern.Prefix)
	case *matcherv3.StringMatcher_SafeRegex:
		return regexp.MustCompile("^(?:" + pattern.SafeRegex.GetRegex() + ")$").MatchString(s)
	}
	return false
}

// expected is what the model says of a request: whether it is let in, and which policy tells why not.
func (a asked) expected(in ir.Inbound) (allowed bool, missed string) {
	if slices.ContainsFunc(in.Peers, func(p ir.Peer) bool { return p.Matches(a.id) }) {
		return true, ""
	}
	path, _, _ := strings.Cut(a.path, "?")
	var items []string
	for _, rule := range in.Rules {
		if !rule.Peer.Matches(a.id) {
			continue
		}
		pathFits := rule.Paths == nil || slices.ContainsFunc(rule.Paths, func(p ir.Path) bool {
			exact, one := p.Exact()
			prefix, _ := p.Prefix()
			return one && path == exact || !one && strings.HasPrefix(path, prefix) && plain.MatchString(path)
		})
		if pathFits && (rule.Methods == nil || slices.Contains(rule.Methods, a.method)) {
			return true, ""
		}
		items = append(items, fmt.Sprint(rule.Item))
	}
	if items == nil {
		return false, ""
	}
	return false, inboundListener(in) + ".peers[" + strings.Join(items, ",") + "]"
}

// TestRulesMeanWhatTheModelSays has random rules and random requests. What is enforced, what would be if peers were not
// only audited, and what is told of it are what the model says.
func TestRulesMeanWhatTheModelSays(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	some := func(from []string, most int) []string {
		var out []string
		for range random.IntN(most + 1) {
			if item := from[random.IntN(len(from))]; !slices.Contains(out, item) {
				out = append(out, item)
			}
		}
		return out
	}
	callers := []string{"/*", "/ns/*", "/ns/prod/*", "/ns/prod/a", "/ns/prod/b", "/web", "/ns/dev/*"}
	ids := []string{"/ns/prod/a", "/ns/prod/b", "/ns/prod/c/d", "/ns/dev/a", "/ns/x", "/ns", "/web", "/other"}
	methods := []string{"GET", "PUT", "DELETE"}
	requested := []string{"/", "/v1", "/v1/", "/v1/a", "/v1/a?b=/v2", "/v2/a", "/v1/..;/a", "/x", "/x/", "/v1/b/c"}
	told := map[bool]int{}
	for range 400 {
		in := ir.Inbound{Listen: 8443, App: 8080, Peers: peers(t, some(callers[2:], 2)...)}
		for item := range random.IntN(6) {
			rule := ir.Rule{Item: item, Peer: peers(t, callers[random.IntN(len(callers))])[0], Methods: some(methods, 2)}
			if texts := some([]string{"/", "/v1", "/v1/*", "/v1/b/*", "/v2/*", "/x"}, 3); texts != nil {
				rule.Paths = paths(t, texts...)
			}
			if rule.Methods == nil && rule.Paths == nil || slices.ContainsFunc(in.Peers, func(p ir.Peer) bool { return p.Covers(rule.Peer) }) {
				continue
			}
			in.Rules = append(in.Rules, rule)
		}
		if len(in.Rules) == 0 {
			continue
		}
		audited := in
		audited.Listen, audited.Audit = 8444, true
		proxy := cases(t)["api"]
		proxy.Inbound = []ir.Inbound{in, audited}
		filter := all[*httprbacv3.RBAC](t, "rules", proxy)[0]
		if filter.GetRules().GetAction() != rbacv3.RBAC_ALLOW || filter.GetShadowRules().GetAction() != rbacv3.RBAC_DENY {
			t.Fatalf("rules %s, shadow rules %s", filter.GetRules().GetAction(), filter.GetShadowRules().GetAction())
		}
		for range 40 {
			a := asked{
				id: spiffeid.RequireFromPath(exampleOrg, ids[random.IntN(len(ids))]), port: 8443,
				method: methods[random.IntN(len(methods))], path: requested[random.IntN(len(requested))],
			}
			allowed, missed := a.expected(in)
			told[allowed]++
			if got := a.first(t, filter.GetRules()) != ""; got != allowed {
				t.Fatalf("%v of %+v: let in %t, want %t", a, in, got, allowed)
			}
			if got := a.first(t, filter.GetShadowRules()); got != missed {
				t.Fatalf("%v of %+v: missed %q, want %q", a, in, got, missed)
			}
			a.port = 8444
			if a.first(t, filter.GetRules()) == "" {
				t.Fatalf("%v of %+v is denied, and only audited", a, audited)
			}
			if _, missed = a.expected(audited); !allowed && missed == "" {
				missed = "inbound_8444" // in no list
			}
			if got := a.first(t, filter.GetShadowRules()); got != missed {
				t.Fatalf("audited %v of %+v: missed %q, want %q", a, audited, got, missed)
			}
		}
	}
	if told[true] < 1000 || told[false] < 1000 {
		t.Errorf("%d requests are let in and %d are not: too few to tell", told[true], told[false])
	}
}

// TestRulesOfManyAreBounded has as many rules as there can be, each covered by all before it, of long paths: their
// configuration can be generated, though no pod's annotations could hold it.
func TestRulesOfManyAreBounded(t *testing.T) {
	proxy := cases(t)["api"]
	in := &proxy.Inbound[0]
	below := ""
	for item := range 64 {
		rule := ir.Rule{Item: item}
		for i := range 8 {
			rule.Paths = append(rule.Paths, paths(t, fmt.Sprintf("/%s/%d/%d/*", strings.Repeat("x", 200), item, i))...)
		}
		rule.Peer = peers(t, below+"/*")[0]
		below += "/x"
		in.Rules = append(in.Rules, rule)
	}
	in.Peers = peers(t, "spiffe://auxiliary.org/x")
	if total := sizeOf(t, proxy); total > 16<<20 {
		t.Errorf("%d bytes", total)
	} else {
		t.Logf("%d bytes", total)
	}
}

// TestSizeOfARule keeps what one rule costs of a pod's annotations in sight.
func TestSizeOfARule(t *testing.T) {
	proxy := cases(t)["api"]
	without := sizeOf(t, proxy)
	rule := ir.Rule{Item: 1, Peer: peers(t, "/ns/shop/sa/web")[0], Methods: []string{"GET"}, Paths: paths(t, "/v1/*")}
	proxy.Inbound[0].Rules = []ir.Rule{rule}
	one := sizeOf(t, proxy)
	rule.Item, rule.Peer = 2, peers(t, "/ns/shop/sa/other")[0]
	proxy.Inbound[0].Rules = append(proxy.Inbound[0].Rules, rule)
	two := sizeOf(t, proxy)
	t.Logf("the first rule %d bytes, each one more that is alike %d", one-without, two-one)
	if one-without > 2500 || two-one > 1200 {
		t.Error("too much")
	}
}

// TestRulesOfOnePortLeaveOthersAlone: the policies of a port without rules are what they are in a pod without any, and
// the listeners of other ports do not change.
func TestRulesOfOnePortLeaveOthersAlone(t *testing.T) {
	proxy := cases(t)["several"]
	policies := func(p ir.Proxy) map[string]*rbacv3.Policy {
		return all[*httprbacv3.RBAC](t, "rules", p)[0].GetRules().GetPolicies()
	}
	before := policies(proxy)
	listeners := func(p ir.Proxy) (out []string) {
		config, err := Generate(asJSON(p))
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Resources []json.RawMessage }
		if err := json.Unmarshal([]byte(config.Listeners), &file); err != nil {
			t.Fatal(err)
		}
		for _, listener := range file.Resources {
			out = append(out, string(listener))
		}
		return out
	}
	same := listeners(proxy)
	changed := proxy
	changed.Inbound = slices.Clone(proxy.Inbound)
	changed.Inbound[0].Rules = []ir.Rule{{Item: 2, Peer: peers(t, "/web")[0], Paths: paths(t, "/v1/*")}}
	now := policies(changed)
	for name, policy := range before {
		if fmt.Sprint(policy) != fmt.Sprint(now[name]) {
			t.Errorf("%s was %v, and is %v", name, policy, now[name])
		}
	}
	for i, listener := range listeners(changed) {
		if (listener == same[i]) == strings.Contains(listener, `"inbound_8443"`) {
			t.Errorf("listener %d changed: %t", i, listener != same[i])
		}
	}
}

func paths(t *testing.T, texts ...string) []ir.Path {
	t.Helper()
	out := make([]ir.Path, len(texts))
	for i, text := range texts {
		path, err := ir.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = path
	}
	return out
}
