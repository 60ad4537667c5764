package ir

import (
	"fmt"
	"strings"
)

// LookedUp is the name by which DNS is asked for an address: one of a service or a pod of the cluster with the cluster's
// domain and a final dot, so that it is one question and not one for each search domain of the pod before it. A name
// that the pod leads to Envoy has the final dot too. Any other name, and all where the domain is not known, is as it is
// written.
func (p Proxy) LookedUp(a Address) string {
	if a.IsIP() || strings.HasSuffix(a.Host(), ".") {
		return a.Host()
	}
	for _, up := range p.Upstreams {
		if up.Name.is(a.Host()) {
			return up.Name.absolute()
		}
	}
	if p.ClusterDomain == "" {
		return a.Host()
	}
	name := strings.TrimSuffix(a.Host(), "."+p.ClusterDomain)
	// NAME.NAMESPACE.svc, or with a pod's name before it.
	if !strings.HasSuffix(name, ".svc") || strings.Count(name, ".") < 2 {
		return a.Host()
	}
	return name + "." + p.ClusterDomain + "."
}

// ParseClusterDomain reads the domain of a cluster's names in DNS, such as cluster.local.
func ParseClusterDomain(s string) (string, error) {
	host, err := ParseServerName(s)
	if err != nil || host.IsIP() {
		return "", fmt.Errorf("expected the domain of the cluster's names, such as cluster.local, got %q", s)
	}
	return host.String(), nil
}
