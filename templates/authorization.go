package templates

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// authorizationName is both the filter's name and that of the one resource in AuthorizationFile. Envoy
// takes exactly one resource from such a file, so all inbound ports share it and each has a policy of
// its own in it.
const authorizationName = "authorization"

// authorization repeats, per request, the check that TLS makes per connection. TLS decides once, so
// a peer removed later would keep its open connection; this filter takes its next request away.
func (p Proxy) authorization() []*corev3.TypedExtensionConfig {
	policies := make(map[string]*rbacv3.Policy, len(p.Inbound))
	for _, in := range p.Inbound {
		policy := &rbacv3.Policy{Permissions: []*rbacv3.Permission{{
			Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(in.Listen)},
		}}}
		for _, peer := range in.Peers {
			policy.Principals = append(policy.Principals, &rbacv3.Principal{
				Identifier: &rbacv3.Principal_Authenticated_{Authenticated: &rbacv3.Principal_Authenticated{
					PrincipalName: uriMatcher(peer),
				}},
			})
		}
		policies[inboundListener(in)] = policy
	}
	return []*corev3.TypedExtensionConfig{{
		Name: authorizationName,
		// Without policies, in a proxy that only calls, ALLOW refuses everything.
		TypedConfig: pack(&httprbacv3.RBAC{Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: policies}}),
	}}
}

// authorizationFilter refers to AuthorizationFile. Until that has been read, requests are refused.
func authorizationFilter() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: authorizationName,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: watchedFile(AuthorizationFile),
			TypeUrls:     []string{pack(&httprbacv3.RBAC{}).TypeUrl},
		}},
	}
}
