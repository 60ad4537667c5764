package templates

import (
	"net/netip"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// No listener of any kind is left out, and those for the app stay on loopback.
func TestAddressesOfListeners(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, proxy ir.Proxy) {
		proxy.IPFamily = ir.IPv4
		for _, family := range []ir.IPFamily{ir.IPv6, ir.DualStack} {
			before := all[*listenerv3.Listener](t, name, proxy)
			changed := proxy
			changed.IPFamily = family
			after := all[*listenerv3.Listener](t, name, changed)
			if len(after) != len(before) {
				t.Fatalf("%s: %d listeners became %d", family, len(before), len(after))
			}
			for i, was := range before {
				if was.GetInternalListener() != nil {
					continue // has no address
				}
				is := after[i].Address.GetSocketAddress()
				switch host := was.Address.GetSocketAddress().Address; {
				case netip.MustParseAddr(host).IsLoopback() && is.Address == host:
				case host == "0.0.0.0" && is.Address == "::" && is.Ipv4Compat:
				default:
					t.Errorf("%s: listener %s moved from %s to %v", family, was.Name, host, is)
				}
			}
		}
	})
}

func TestDNSLookupFamily(t *testing.T) {
	client := cases(t)["client"]
	for family, want := range map[ir.IPFamily]commondnsv3.DnsLookupFamily{
		ir.IPv4:      commondnsv3.DnsLookupFamily_V4_PREFERRED,
		ir.IPv6:      commondnsv3.DnsLookupFamily_AUTO,
		ir.DualStack: commondnsv3.DnsLookupFamily_V4_PREFERRED,
	} {
		client.IPFamily = family
		for _, cluster := range all[*dnsclusterv3.DnsCluster](t, "client", client) {
			if cluster.DnsLookupFamily != want {
				t.Errorf("%s: expected %s, got %s", family, want, cluster.DnsLookupFamily)
			}
		}
	}
}
