package templates

import (
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	headertometadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	xfccHeader = "x-forwarded-client-cert"
	// onBehalfOf is X-Forwarded-Client-Cert of a request that comes from a gateway: exactly one element that the gateway
	// wrote, whose URI is the client, and after it one by which our Envoy names the gateway. Elements are separated by
	// commas and parts by semicolons, neither of which is in an ID; nor are quotes. The gateway has no By if it shows a
	// certificate of the public web. Envoy limits the size of a pattern, so the clients are compared apart from it.
	onBehalfOf = `(By=[a-zA-Z0-9:/._-]+;)?Hash=[0-9a-f]+;URI=([a-zA-Z0-9:/._-]+),[!-+--~]+`
	// What onBehalfOf finds as the client is kept under this key.
	metadataNamespace = "spire-injector"
	clientKey         = "client"
)

// clientFilter takes the client out of what a gateway says. A header of another form it leaves whole, for which
// authorization refuses it.
func clientFilter() *hcmv3.HttpFilter {
	return httpFilter("client", &headertometadatav3.Config{RequestRules: []*headertometadatav3.Config_Rule{{
		Header: xfccHeader,
		OnHeaderPresent: &headertometadatav3.Config_KeyValuePair{
			MetadataNamespace: metadataNamespace,
			Key:               clientKey,
			RegexValueRewrite: &matcherv3.RegexMatchAndSubstitute{
				Pattern:      &matcherv3.RegexMatcher{Regex: "^" + onBehalfOf + "$"},
				Substitution: `\2`,
			},
		},
	}}})
}

// forwardedBy is what a request has to carry that comes from a gateway, on behalf of one of these clients.
func forwardedBy(clients []ir.Peer) []*rbacv3.Permission {
	form := headerPermission(headerMatches(xfccHeader, onBehalfOf))
	anyOf := &rbacv3.Permission_Set{}
	for _, client := range clients {
		anyOf.Rules = append(
			anyOf.Rules,
			&rbacv3.Permission{Rule: &rbacv3.Permission_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{
				MetadataMatcher: &matcherv3.MetadataMatcher{
					Filter: metadataNamespace,
					Path: []*matcherv3.MetadataMatcher_PathSegment{
						{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: clientKey}},
					},
					Value: &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: uriMatcher(client)}},
				},
			}}},
		)
	}
	return []*rbacv3.Permission{form, {Rule: &rbacv3.Permission_OrRules{OrRules: anyOf}}}
}
