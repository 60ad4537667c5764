package ir

import (
	"fmt"
	"slices"
)

// nameChecks are the rules of an upstream's name by itself.
func nameChecks() []upstreamCheck {
	return []upstreamCheck{
		{".listen", NameDomain, func(_ Proxy, up Upstream) string {
			return unless(up.Name.service == "" || up.Name.domain != "",
				"the domain of the cluster is not known, without which Envoy would look for %s at itself: "+
					"write clusterDomain: cluster.local in the platform file, or what it is", up.Name)
		}},
		{".listen", NamePlace, func(p Proxy, up Upstream) string {
			return unless(up.Name.IsZero() == (up.Loopback == ""), "expected an address of loopback for %s, got %q", up.Name, up.Loopback)
		}},
		{".listen", NamePlace, func(p Proxy, up Upstream) string {
			return unless(up.Behind == 0 || p.Captured && !up.Name.IsZero(),
				"expected no port behind %d, to which only the rules of a captured pod lead, got %d", up.Listen, up.Behind)
		}},
		{".passthrough", PassthroughOfPort, func(_ Proxy, up Upstream) string {
			return unless(len(up.Passthrough) == 0 || !up.Name.IsZero(),
				`is for further ports of a name: write listen: "api:8080", or remove passthrough`)
		}},
	}
}

// checkNames gives each port of a name to one upstream. The address of a name is no other listener's, so that only an app
// on all addresses can be in the way.
func (p Proxy) checkNames(found *problems, ports portOwners) {
	type place struct {
		ip   string
		port uint16
	}
	taken := map[place]int{}
	names := map[string]Name{}
	for i, up := range p.Upstreams {
		if up.Name.IsZero() || up.Loopback == "" {
			continue
		}
		path := fmt.Sprintf("upstreams[%d]", i)
		if other, ok := names[up.Loopback]; ok && other != up.Name {
			found.tell(path+".listen", NamePlace, "expected an address of loopback for %s alone, got that of %s", up.Name, other)
		}
		names[up.Loopback] = up.Name
		claim := func(path string, port, behind uint16) {
			earlier, twice := taken[place{up.Loopback, port}]
			owner := ports.app[port]
			switch {
			case port == 0:
			case twice:
				found.tell(path, PortTaken, "%s is taken already by upstream %d; write each port of a name once", up.Name.At(port), earlier)
			case IsOwnPort(int(port)):
				found.tell(path, PortTaken, "port %d is one of the sidecar's own on all addresses of the pod", port)
			case behind != 0: // Envoy is elsewhere
			case owner != "" && p.Captured: // the pod's rules lead to Envoy wherever the app listens
			case owner != "" && !p.leadsTo(port):
				found.tell(path, NameInTheWay,
					"%s declares port %d, and on all addresses of the pod, as most apps listen, it is in the way of Envoy at %s, to which "+
						"%s leads; let it listen on 127.0.0.1 and name the port in inbound, or let Envoy listen on another port of 127.0.0.1 "+
						"and call that", owner, port, up.Loopback, up.Name)
			}
			if !twice {
				taken[place{up.Loopback, port}] = i
			}
		}
		claim(path+".listen", up.Listen, up.Behind)
		for n, port := range up.Passthrough {
			claim(fmt.Sprintf("%s.passthrough[%d]", path, n), port, 0)
		}
	}
}

// leadsTo says whether an inbound listener leads to a port of the app, which then is on the one address that it says.
func (p Proxy) leadsTo(port uint16) bool {
	return slices.ContainsFunc(p.Inbound, func(in Inbound) bool { return in.App == port })
}
