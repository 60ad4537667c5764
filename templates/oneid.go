package templates

import (
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	tcprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	sslv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/ssl/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// spiffeIDPattern is what Envoy makes of the URIs in a certificate when they are one SPIFFE ID.
const spiffeIDPattern = `spiffe://[a-z0-9._-]+(/[a-zA-Z0-9._-]+)+`

// noID is what Envoy makes of the URIs in a certificate when they are not one SPIFFE ID: it joins several by commas.
const noID = `(?s).*[^a-zA-Z0-9:/._-].*`

// isForeign says whether authorities of another trust domain vouch for callers. Our own issue SPIFFE IDs alone, one to
// a certificate.
func isForeign(id spiffeid.ID, verified []ir.Peer) bool {
	return len(verified) == 0 ||
		slices.ContainsFunc(verified, func(p ir.Peer) bool { return p.TrustDomain() != id.TrustDomain() })
}

// oneID ends connections of callers whose certificate has more than one URI, or one that is no SPIFFE ID, before their
// first byte is read: the first could use an ID that is not theirs, and the second could be written so that it names
// somebody else in a header.
func oneID(in ir.Inbound) *tcprbacv3.RBAC {
	type predicate = xdsmatcherv3.Matcher_MatcherList_Predicate
	matches := func(pattern string) *predicate {
		return &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input: &xdscorev3.TypedExtensionConfig{Name: "uri_san", TypedConfig: pack(&sslv3.UriSanInput{})},
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
					ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{
						SafeRegex: &xdsmatcherv3.RegexMatcher{
							EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{
								GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{},
							}, Regex: pattern,
						},
					}},
				},
			},
		}}
	}
	allowed := matches(spiffeIDPattern) // what matches nothing is denied
	if in.Clients == ir.Request {
		// A caller without a certificate has no URI, and what is not there matches no pattern.
		allowed = &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: matches(noID)}}
	}
	allow := &rbacv3.Action{Name: "one_id", Action: rbacv3.RBAC_ALLOW}
	return &tcprbacv3.RBAC{
		StatPrefix: inboundListener(in) + ".",
		Matcher: &xdsmatcherv3.Matcher{
			MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
				Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
					Predicate: allowed,
					OnMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
						Action: &xdscorev3.TypedExtensionConfig{Name: "allow", TypedConfig: pack(allow)},
					}},
				}},
			}},
		},
	}
}
