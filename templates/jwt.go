package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Envoy gets JWT-SVIDs and the keys to verify them from a program beside it, because the agent's SDS has neither. The
// program serves the keys on a socket and writes each token into a file, both in [JWTDir].

const (
	// JWTDir is the directory that Envoy shares with the program that fetches JWT-SVIDs and the keys to verify them.
	JWTDir = "/run/spiffe-jwt"
	// JWKSSocket is a Unix socket in it, where GET [JWKSPath] answers the keys of a trust domain as a JWK set.
	JWKSSocket = JWTDir + "/jwks.sock"
	// JWTSubjectHeader tells the app the subject of the JWT-SVID that was verified. Whatever callers write there is
	// removed.
	JWTSubjectHeader = "x-spiffe-jwt-subject"
)

// JWKSPath is where [JWKSSocket] answers the keys of a trust domain.
func JWKSPath(td spiffeid.TrustDomain) string { return "/" + td.Name() }

// TokenFile is the name of the file in [JWTDir] that holds the token for an audience, as [TokenSecret] writes it.
func TokenFile(audience string) string {
	sum := sha256.Sum256([]byte(audience))
	return hex.EncodeToString(sum[:8]) + ".json"
}

const (
	jwksCluster = "jwks"
	// jwtStatistics are how many tokens were accepted and refused, and how often keys were fetched.
	jwtStatistics = "http.*.jwt_authn."
	// authenticationFilter is under which name Envoy keeps what a token says.
	authenticationFilter = "envoy.filters.http.jwt_authn"
	// jwksCache lets Envoy ask for the keys once a second: it does so 5 s before they would be too old. Between a key's
	// way to the agent and its first use there are minutes.
	jwksCache = 6 * time.Second
	// jwtClockSkew is how much the clocks of two nodes may differ.
	jwtClockSkew = 5 * time.Second
)

// authenticate adds to an inbound port what verifies tokens.
func authenticate(manager *hcmv3.HttpConnectionManager, in ir.Inbound) {
	if !in.JWT.IsZero() {
		manager.HttpFilters = append(
			[]*hcmv3.HttpFilter{httpFilter(authenticationFilter, authentication(in.JWT))},
			manager.HttpFilters...)
	}
}

// authentication has a provider for each trust domain, whose keys alone decide what it vouches for: what its tokens say
// is kept under the domain's name, where [tokenPrincipals] looks for subjects of that domain and of no other.
func authentication(j ir.JWT) *jwtv3.JwtAuthentication {
	out := &jwtv3.JwtAuthentication{Providers: map[string]*jwtv3.JwtProvider{}}
	var each []*jwtv3.JwtRequirement
	for _, td := range j.TrustDomains() {
		out.Providers[td.Name()] = &jwtv3.JwtProvider{
			Audiences: j.Audiences,
			JwksSourceSpecifier: &jwtv3.JwtProvider_RemoteJwks{RemoteJwks: &jwtv3.RemoteJwks{
				HttpUri: &corev3.HttpUri{
					Uri:              "http://" + jwksCluster + JWKSPath(td),
					HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: jwksCluster},
					Timeout:          lasting(time.Second),
				},
				CacheDuration: lasting(jwksCache),
				// A listener waits for its first keys.
				AsyncFetch: &jwtv3.JwksAsyncFetch{},
			}},
			// By default Envoy also looks into the query, which is logged and cached on the way.
			FromHeaders:       []*jwtv3.JwtHeader{{Name: "Authorization", ValuePrefix: "Bearer "}},
			RequireExpiration: true,
			ClockSkewSeconds:  uint32(jwtClockSkew / time.Second),
			PayloadInMetadata: td.Name(),
			ClaimToHeaders:    []*jwtv3.JwtClaimToHeader{{HeaderName: JWTSubjectHeader, ClaimName: "sub"}},
		}
		each = append(each, &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: td.Name()}})
	}
	requires := each[0]
	if len(each) > 1 {
		requires = &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_RequiresAny{
			RequiresAny: &jwtv3.JwtRequirementOrList{Requirements: each},
		}}
	}
	out.Rules = []*jwtv3.RequirementRule{{
		Match:           anyPath(),
		RequirementType: &jwtv3.RequirementRule_Requires{Requires: requires},
	}}
	return out
}

// tokenPrincipals are the subjects that may call, each vouched for by its own trust domain.
func tokenPrincipals(j ir.JWT) []*rbacv3.Principal {
	out := make([]*rbacv3.Principal, len(j.Subjects))
	for i, subject := range j.Subjects {
		out[i] = tokenOf(subject)
	}
	return out
}

// anySubject is every subject of the trust domains, vouched for by its own.
func anySubject(j ir.JWT) []*rbacv3.Principal {
	var out []*rbacv3.Principal
	for _, td := range j.TrustDomains() {
		out = append(out, tokenOf(ir.Everyone(td)))
	}
	return out
}

func tokenOf(subject ir.Peer) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{
		MetadataMatcher: &matcherv3.MetadataMatcher{
			Filter: authenticationFilter,
			Path: []*matcherv3.MetadataMatcher_PathSegment{
				{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: subject.TrustDomain().Name()}},
				{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: "sub"}},
			},
			Value: &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: uriMatcher(subject)}},
		},
		MetadataSource: rbacv3.MetadataSource_DYNAMIC,
	}}}
}

// subjectField is the subject of a verified token for the access log. At most one of the domains has one.
func subjectField(j ir.JWT) string {
	var out strings.Builder
	for _, td := range j.TrustDomains() {
		out.WriteString("%DYNAMIC_METADATA(" + authenticationFilter + ":" + td.Name() + ":sub)%")
	}
	return out.String()
}

// jwksClusters is the program that has the keys.
func (p envoy) jwksClusters() []*clusterv3.Cluster {
	if !p.VerifiesJWT() {
		return nil
	}
	return []*clusterv3.Cluster{{
		Name:                 jwksCluster,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       lasting(time.Second),
		LoadAssignment: endpoints(jwksCluster, &corev3.Address{
			Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: JWKSSocket}},
		}),
	}}
}
