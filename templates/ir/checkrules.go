package ir

import (
	"fmt"
	"slices"
)

// A check of one rule says what is wrong with one of its fields; empty is nothing.
type ruleCheck struct {
	field string
	code  Code
	check func(in Inbound, rule Rule) string
}

// ruleChecks are the rules of a Rule, in a listener that has requests and knows its callers.
func ruleChecks() []ruleCheck {
	return []ruleCheck{
		{"", PeerZero, func(_ Inbound, rule Rule) string { return zeroPeer([]Peer{rule.Peer}) }},
		{"", RuleUnused, unusedRule},
		{"", RuleEmpty, func(_ Inbound, rule Rule) string {
			return unless(rule.Methods != nil || rule.Paths != nil, "expected methods, paths or both, got neither")
		}},
		{".methods", RuleEmpty, func(_ Inbound, rule Rule) string {
			return unless(rule.Methods == nil || len(rule.Methods) > 0,
				"expected at least one method, got an empty list; without methods all are meant")
		}},
		{".methods", MethodSpelling, func(_ Inbound, rule Rule) string {
			return firstProblem(rule.Methods, ParseMethod)
		}},
		{".paths", RuleEmpty, func(_ Inbound, rule Rule) string {
			return unless(rule.Paths == nil || len(rule.Paths) > 0,
				"expected at least one path, got an empty list; without paths all are meant")
		}},
		{".paths", PathZero, func(_ Inbound, rule Rule) string {
			return unless(!slices.ContainsFunc(rule.Paths, Path.IsZero),
				"expected paths that ParsePath made, got the zero value")
		}},
		{".paths", RuleEmpty, func(_ Inbound, rule Rule) string {
			return unless(!slices.ContainsFunc(rule.Paths, Path.IsEverything),
				`expected paths that leave some out, got "/*"; without paths all are meant`)
		}},
	}
}

// unusedRule finds one that says less than is allowed already. Whoever writes it means to take something away.
func unusedRule(in Inbound, rule Rule) string {
	i := slices.IndexFunc(in.Peers, func(p Peer) bool { return p.Covers(rule.Peer) })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("has no effect: %s is in the list too and may ask for everything, and what one item allows "+
		"no other takes away: remove one of both", in.Peers[i])
}

func firstProblem(items []string, parse func(string) (string, error)) string {
	for _, item := range items {
		if _, err := parse(item); err != nil {
			return err.Error()
		}
	}
	return ""
}

// checkRules applies the rules of each Rule of a listener.
func (in Inbound) checkRules(found *problems, path string) {
	if len(in.Rules) == 0 {
		return
	}
	if in.Protocol == TCP {
		found.tell(fmt.Sprintf("%s.peers[%d]", path, in.Rules[0].Item), RuleWithTCP,
			"expected protocol http, http2 or grpc, whose requests have a method and a path, got tcp: write the ID alone")
	}
	if in.Identifies() && in.Clients == Request {
		found.tell(fmt.Sprintf("%s.peers[%d]", path, in.Rules[0].Item), RuleWithRequest,
			"has no effect with clientCertificate: optional, where who presents no certificate may ask for everything: "+
				"write the ID alone, or clientCertificate: required")
	}
	checks, before := ruleChecks(), -1
	for _, rule := range in.Rules {
		item := fmt.Sprintf("%s.peers[%d]", path, rule.Item)
		if rule.Item <= before {
			found.tell(item, RuleOrder, "expected rules in the order of their items, each once, got %d after %d",
				rule.Item, before)
		}
		before = rule.Item
		for _, c := range checks {
			if text := c.check(in, rule); text != "" {
				found.tell(item+c.field, c.code, "%s", text)
			}
		}
	}
}

// checkRuleCounts bounds what all rules together say. Of too many none is looked at.
func (p Proxy) checkRuleCounts(found *problems) (tooMany bool) {
	rules, values := 0, 0
	for i, in := range p.Inbound {
		for _, rule := range in.Rules {
			rules++
			values += len(rule.Methods) + len(rule.Paths)
			if rules > maxRules || values > maxRuleValues {
				found.tell(fmt.Sprintf("inbound[%d].peers[%d]", i, rule.Item), TooManyRules,
					"expected at most %d peers with methods or paths in all of a pod, with at most %d methods and paths, got more: "+
						`use prefixes such as "/v1/*"`, maxRules, maxRuleValues)
				return true
			}
		}
	}
	return false
}
