package templates

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// DNS is asked for the whole name, the callee reads the one that the user wrote.
func TestClusterDomain(t *testing.T) {
	for domain, want := range map[string][2]string{
		"":              {"api.default.svc", ""},
		"cluster.local": {"api.default.svc.cluster.local.", "api.default.svc"},
	} {
		p := cases(t)["client"]
		p.ClusterDomain = domain
		clusters := all[*clusterv3.Cluster](t, "client", p)
		up := clusters[len(clusters)-1]
		endpoint := up.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint()
		if got := [2]string{endpoint.GetAddress().GetSocketAddress().GetAddress(), endpoint.GetHostname()}; got != want {
			t.Errorf("%q: expected address and Host %q, got %q", domain, want, got)
		}
	}
}
