package ir

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of rules, which are compared one by one with each request, and each of which is in the configuration more
// than once.
const (
	maxRules      = 64  // of a proxy
	maxRuleValues = 512 // methods and paths of all of them
	maxMethod     = 32  // bytes
	maxPath       = 256 // bytes
)

// Rule lets a peer make some requests: those with one of Methods to one of Paths. What one rule of a peer does not let
// in, another may. What is not in the path, as a query or a header that names another method, is never looked at.
type Rule struct {
	// Item is its place in the list of peers as it was written, from 0, by which problems and logs name it.
	Item int
	Peer Peer
	// Methods such as GET, as [ParseMethod] reads them; nil is any. HEAD is not GET.
	Methods []string
	// Paths as [ParsePath] reads them; nil is any.
	Paths []Path
}

// Callers are all who may call: Peers, and after them those who may make some requests.
func (in Inbound) Callers() []Peer {
	if len(in.Rules) == 0 {
		return in.Peers
	}
	out, known := slices.Clone(in.Peers), map[Peer]bool{}
	for _, rule := range in.Rules {
		if !known[rule.Peer] {
			out = append(out, rule.Peer)
		}
		known[rule.Peer] = true
	}
	return out
}

// ComparesPaths says whether it depends on the path whether a caller may make a request.
func (in Inbound) ComparesPaths() bool {
	return slices.ContainsFunc(in.Rules, func(rule Rule) bool { return rule.Paths != nil })
}

// HasRules says whether any port has some.
func (p Proxy) HasRules() bool {
	return slices.ContainsFunc(p.Inbound, func(in Inbound) bool { return len(in.Rules) > 0 })
}

// Covers says whether every ID that other stands for is one that p stands for.
func (p Peer) Covers(other Peer) bool {
	if p.IsZero() || other.IsZero() {
		return false
	}
	if other.prefix {
		return p.prefix && strings.HasPrefix(other.URIPrefix(), p.URIPrefix())
	}
	return p.Matches(other.id)
}

// Methods are the usual ones, for suggestions.
func Methods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
}

// ParseMethod reads a method of HTTP: letters in upper case, digits, - and _, of which the first is a letter. An error
// says what was expected, and what came.
func ParseMethod(s string) (string, error) {
	switch {
	case s == "CONNECT":
		return "", fmt.Errorf("method %q: asks a proxy for a tunnel, which no port gives", s)
	case !isMethod(s):
		return "", fmt.Errorf("method %.64q: expected a method such as GET in upper case, at most %d bytes", s, maxMethod)
	}
	return s, nil
}

func isMethod(s string) bool {
	if s == "" || len(s) > maxMethod || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
