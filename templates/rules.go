package templates

import (
	"fmt"
	"slices"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Rules are policies of their own beside that of the port: one for each set of methods and paths. All of them allow, so
// that a request that none is meant for is denied. Which rules it missed is said by the shadow rules, which decide
// nothing: in a pod with rules they are those of denial.

// ruleField is the policy of the shadow rules by which a request was denied, or would be.
const ruleField = "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_effective_policy_id)%"

// ruleName names rules by their places in the list of peers.
func ruleName(in ir.Inbound, rules []ir.Rule) string {
	items := make([]string, len(rules))
	for i, rule := range rules {
		items[i] = fmt.Sprint(rule.Item)
	}
	return inboundListener(in) + ".peers[" + strings.Join(items, ",") + "]"
}

// allowPolicies put together who may ask a port for what.
func allowPolicies(in ir.Inbound) map[string]*rbacv3.Policy {
	policies := map[string]*rbacv3.Policy{}
	tokens := tokenPrincipals(in.JWT)
	// Without principals a policy is not valid: everyone who may call has a rule.
	if who := callers(in, principals(in.Peers), tokens); len(who) > 0 {
		policies[inboundListener(in)] = portPolicy(in, who)
	}
	for _, alike := range alikeRules(in.Rules) {
		who := make([]ir.Peer, len(alike))
		for i, rule := range alike {
			who[i] = rule.Peer
		}
		policy := portPolicy(in, withTokens(in, principals(who), tokens))
		policy.Permissions = []*rbacv3.Permission{allPermissions(append(policy.Permissions, requestsOf(alike[0])...))}
		policies[ruleName(in, alike)] = policy
	}
	return policies
}

// alikeRules are the rules in groups that let the same requests in.
func alikeRules(rules []ir.Rule) [][]ir.Rule {
	var groups [][]ir.Rule
	for _, rule := range rules {
		i := slices.IndexFunc(groups, func(group []ir.Rule) bool {
			return slices.Equal(group[0].Methods, rule.Methods) && slices.Equal(group[0].Paths, rule.Paths)
		})
		if i < 0 {
			groups, i = append(groups, nil), len(groups)
		}
		groups[i] = append(groups[i], rule)
	}
	return groups
}

// denyPolicies say of requests to a port why they are denied, or would be if its peers were not only audited: who calls
// is in no list, or is in these items of it, of which none lets the request in.
func denyPolicies(in ir.Inbound) map[string]*rbacv3.Policy {
	policies := map[string]*rbacv3.Policy{}
	if in.Audits() {
		who := callers(in, principals(in.Callers()), tokenPrincipals(in.JWT))
		policies[inboundListener(in)] = portPolicy(in, []*rbacv3.Principal{noneOf(who)})
	}
	done := map[ir.Peer]bool{}
	for _, rule := range in.Rules {
		if done[rule.Peer] {
			continue
		}
		done[rule.Peer] = true
		rules := rulesFor(in, rule.Peer)
		policies[ruleName(in, rules)] = &rbacv3.Policy{
			Permissions: []*rbacv3.Permission{allPermissions([]*rbacv3.Permission{portPermission(in), notPermission(rules)})},
			Principals:  []*rbacv3.Principal{exactly(in, rule.Peer)},
		}
	}
	return policies
}

// rulesFor are all rules for every ID that a peer stands for.
func rulesFor(in ir.Inbound, peer ir.Peer) []ir.Rule {
	var out []ir.Rule
	for _, rule := range in.Rules {
		if rule.Peer.Covers(peer) {
			out = append(out, rule)
		}
	}
	return out
}

// exactly is a peer without those callers of whom more is said: prefixes of IDs lie in one another or apart.
func exactly(in ir.Inbound, peer ir.Peer) *rbacv3.Principal {
	var other []ir.Peer
	for _, caller := range in.Callers() {
		if peer.IsPrefix() && caller != peer && peer.Covers(caller) {
			other = append(other, caller)
		}
	}
	who := principals([]ir.Peer{peer})[0]
	if len(other) == 0 {
		return who
	}
	return allPrincipals(who, noneOf(principals(other)))
}

func noneOf(who []*rbacv3.Principal) *rbacv3.Principal {
	if len(who) == 1 {
		return notPrincipal(who[0])
	}
	return notPrincipal(anyPrincipal(who))
}

// requestsOf is what a request has to be for a rule, apart from its caller: all of it.
func requestsOf(rule ir.Rule) []*rbacv3.Permission {
	var out []*rbacv3.Permission
	if rule.Methods != nil {
		methods := make([]*rbacv3.Permission, len(rule.Methods))
		for i, method := range rule.Methods {
			methods[i] = headerPermission(headerIs(":method", method))
		}
		out = append(out, anyPermission(methods))
	}
	if rule.Paths != nil {
		out = append(out, pathPermission(rule.Paths))
	}
	return out
}

func notPermission(rules []ir.Rule) *rbacv3.Permission {
	each := make([]*rbacv3.Permission, len(rules))
	for i, rule := range rules {
		each[i] = allPermissions(requestsOf(rule))
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: anyPermission(each)}}
}

// pathPermission takes one path as it is. Below a prefix it takes plain paths alone: see [plainPath].
func pathPermission(paths []ir.Path) *rbacv3.Permission {
	var each, below []*rbacv3.Permission
	for _, path := range paths {
		if exact, one := path.Exact(); one {
			each = append(each, urlPath(exactString(exact)))
			continue
		}
		prefix, _ := path.Prefix()
		below = append(below, urlPath(prefixMatcher(prefix)))
	}
	if len(below) > 0 {
		each = append(each, allPermissions([]*rbacv3.Permission{anyPermission(below), urlPath(patternMatcher(plainPath))}))
	}
	return anyPermission(each)
}
