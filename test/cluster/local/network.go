package local

import (
	"net/netip"
	"strings"
)

// network is the addresses of one IP family inside the cluster's network namespace. They are the same in every
// cluster: nothing outside sees them.
type network struct {
	pods     netip.Prefix // each node has a part of it
	nodeBits int          // of a node's part
	services netip.Prefix
	api      netip.Addr // of the Service kubernetes
	any      netip.Prefix
	iptables string // the program
}

var (
	ipv4 = network{
		pods: netip.MustParsePrefix("10.88.0.0/16"), nodeBits: 18,
		services: netip.MustParsePrefix("10.96.0.0/16"), api: netip.MustParseAddr("10.96.0.1"),
		any: netip.MustParsePrefix("0.0.0.0/0"), iptables: "iptables",
	}
	ipv6 = network{
		pods: netip.MustParsePrefix("fd00:88::/62"), nodeBits: 64,
		services: netip.MustParsePrefix("fd00:96::/112"), api: netip.MustParseAddr("fd00:96::1"),
		any: netip.MustParsePrefix("::/0"), iptables: "ip6tables",
	}
)

// networks are those of the families that pods and Services have, the first one by default.
func (s Shape) networks() []network {
	if s.DualStack {
		return []network{ipv4, ipv6}
	}
	return []network{ipv4}
}

// podsOf is the network of a node's pods.
func (w network) podsOf(n node) netip.Prefix {
	bytes := w.pods.Addr().AsSlice()
	bytes[(w.nodeBits-1)/8] |= byte(n-1) << ((8 - w.nodeBits%8) % 8)
	first, _ := netip.AddrFromSlice(bytes) // as many as it had
	return netip.PrefixFrom(first, w.nodeBits)
}

// addressOf is a node's own: that of its bridge, so that pods and daemons reach it alike.
func (w network) addressOf(n node) netip.Addr { return w.podsOf(n).Addr().Next() }

// onBridge is the same with the network that is reached by the bridge.
func (w network) onBridge(n node) netip.Prefix { return netip.PrefixFrom(w.addressOf(n), w.nodeBits) }

// firstPodOf leaves addresses below it for the node.
func (w network) firstPodOf(n node) netip.Addr {
	bytes := w.podsOf(n).Addr().AsSlice()
	bytes[len(bytes)-1] = 10
	first, _ := netip.AddrFromSlice(bytes)
	return first
}

// list is what Kubernetes' flags take for several families.
func list[T interface{ String() string }](networks []network, of func(network) T) string {
	texts := make([]string, len(networks))
	for i, w := range networks {
		texts[i] = of(w).String()
	}
	return strings.Join(texts, ",")
}
