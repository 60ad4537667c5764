package templates

import (
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	allIPv4 = "0.0.0.0"
	// allIPv6 has IPv4 callers too, on the same socket. It is not what every proxy has, because Envoy exits where the
	// kernel knows no IPv6.
	allIPv6 = "::"
)

// onPodAddresses gives listeners on all addresses those of the proxy's family, the others stay. A proxy of IPv6 takes
// IPv4 as well: every pod has 127.0.0.1, from which readiness is asked.
func (p envoy) onPodAddresses(listeners []*listenerv3.Listener) []*listenerv3.Listener {
	if p.IPFamily == ir.IPv4 {
		return listeners
	}
	for _, l := range listeners {
		address := l.Address.GetSocketAddress()
		if address.GetAddress() != allIPv4 {
			continue
		}
		address.Address, address.Ipv4Compat = allIPv6, true
		// Statistics have the names that they have everywhere.
		l.StatPrefix = fmt.Sprintf("%s_%d", allIPv4, address.GetPortValue())
	}
	return listeners
}

// dnsLookupFamily is which addresses of a name are called. The pods of a name may have been injected before they had
// IPv6, and listen on IPv4 alone.
func (p envoy) dnsLookupFamily() commondnsv3.DnsLookupFamily {
	if p.IPFamily == ir.IPv6 {
		return commondnsv3.DnsLookupFamily_AUTO // IPv6, and IPv4 where there is none
	}
	return commondnsv3.DnsLookupFamily_V4_PREFERRED
}
