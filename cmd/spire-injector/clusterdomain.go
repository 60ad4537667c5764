package main

import "strings"

// resolverFile is where the kubelet writes the search domains of the injector's own pod: NAMESPACE.svc.DOMAIN,
// svc.DOMAIN and DOMAIN. Other pods have the same DOMAIN.
const resolverFile = "/etc/resolv.conf"

// podClusterDomain is the cluster's domain in the content of such a file, empty for one that does not say it, as that of
// a node.
func podClusterDomain(resolver string) string {
	for line := range strings.Lines(resolver) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		for _, domain := range fields[1:] {
			if rest, ok := strings.CutPrefix(strings.TrimSuffix(domain, "."), "svc."); ok && rest != "" {
				return rest
			}
		}
	}
	return ""
}
