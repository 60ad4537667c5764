package templates

import (
	"maps"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// authorizationName is both the filter's name and that of the one resource in AuthorizationFile. Envoy
// takes exactly one resource from such a file, so all inbound ports share it and each has a policy of
// its own in it.
const authorizationName = "authorization"

// authorization repeats, per request, the check that TLS makes per connection. TLS decides once, so
// a peer removed later would keep its open connection; this filter takes its next request away. The shadow rules
// are what an audited port would enforce.
func (p envoy) authorization() []*corev3.TypedExtensionConfig {
	filter := &httprbacv3.RBAC{Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{}}}
	shadow := &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{}}
	if p.HasRules() {
		shadow.Action = rbacv3.RBAC_DENY
	}
	for _, in := range p.Inbound {
		if !in.ChecksRequests() || in.Protocol == ir.TCP {
			continue // nobody can be told apart, or connections are not made of requests
		}
		if in.Audit {
			filter.Rules.Policies[inboundListener(in)] = portPolicy(in, callers(in, anyoneAuthenticated(), anySubject(in.JWT)))
		} else {
			maps.Copy(filter.Rules.Policies, allowPolicies(in))
		}
		maps.Copy(shadow.Policies, p.shadowPolicies(in))
	}
	if len(shadow.Policies) > 0 {
		filter.ShadowRules = shadow
	}
	// Without policies, in a proxy that only calls, ALLOW refuses everything.
	return []*corev3.TypedExtensionConfig{{Name: authorizationName, TypedConfig: pack(filter)}}
}

// shadowPolicies are what is only told of requests to a port.
func (p envoy) shadowPolicies(in ir.Inbound) map[string]*rbacv3.Policy {
	switch {
	case p.HasRules():
		return denyPolicies(in)
	case in.Audit:
		return allowPolicies(in)
	}
	return nil
}

func portPermission(in ir.Inbound) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(in.Listen)}}
}

func portPolicy(in ir.Inbound, who []*rbacv3.Principal) *rbacv3.Policy {
	port := portPermission(in)
	if len(in.Forwarded) > 0 {
		all := append(forwardedBy(in.Forwarded), port)
		if len(in.Refused) > 0 {
			refused := allPermissions(forwardedBy(in.Refused))
			all = append(all, &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: refused}})
		}
		port = allPermissions(all)
	}
	return &rbacv3.Policy{Permissions: []*rbacv3.Permission{port}, Principals: notRefused(in, who)}
}

// callers puts together who is known by a certificate and who by a token. Where there are both, a caller needs both,
// but for those who may come without a certificate: in plain text on a permissive port, or to a port where it is
// optional.
func callers(in ir.Inbound, peers, subjects []*rbacv3.Principal) []*rbacv3.Principal {
	if in.Clients == ir.Request {
		peers = append(peers, nobody())
	}
	if !in.JWT.IsZero() && in.TLS == ir.Permissive {
		peers = append(peers, notPrincipal(anyoneAuthenticated()[0]))
	}
	return withTokens(in, peers, subjects)
}

// withTokens is who has a certificate of peers, and a token of subjects where one is asked for.
func withTokens(in ir.Inbound, peers, subjects []*rbacv3.Principal) []*rbacv3.Principal {
	switch {
	case in.JWT.IsZero():
		return peers
	case !in.Identifies():
		return subjects
	case len(peers) == 0:
		return nil
	}
	return []*rbacv3.Principal{allPrincipals(anyPrincipal(peers), anyPrincipal(subjects))}
}

func principals(peers []ir.Peer) []*rbacv3.Principal {
	out := make([]*rbacv3.Principal, len(peers))
	for i, peer := range peers {
		out[i] = authenticated(&rbacv3.Principal_Authenticated{PrincipalName: uriMatcher(peer)})
	}
	return out
}

// anyoneAuthenticated is everybody whom TLS has let in.
func anyoneAuthenticated() []*rbacv3.Principal {
	return []*rbacv3.Principal{authenticated(&rbacv3.Principal_Authenticated{})}
}

func authenticated(who *rbacv3.Principal_Authenticated) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{Authenticated: who}}
}

// authorizationFilter refers to AuthorizationFile. Until that has been read, requests are refused.
func (p envoy) authorizationFilter() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: authorizationName,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: p.watchedFile(AuthorizationFile),
			TypeUrls:     []string{pack(&httprbacv3.RBAC{}).TypeUrl},
		}},
	}
}

// tcpAudit says of each connection whether it would have been refused, as soon as its first byte has come.
func tcpAudit(in ir.Inbound) *tcprbacv3.RBAC {
	return &tcprbacv3.RBAC{
		StatPrefix: inboundListener(in) + ".",
		ShadowRules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{
			inboundListener(in): portPolicy(in, principals(in.Peers)),
		}},
	}
}
