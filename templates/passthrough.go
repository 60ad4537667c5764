package templates

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	snidfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// In the pod a name stands for one address of loopback, whatever port is asked for. Ports that are not for mutual TLS
// have to be served there too: their bytes go on to where the name leads without Envoy.

func passthroughName(up ir.Upstream, port uint16) string {
	return fmt.Sprintf("passthrough_%s:%d", up.Loopback, port)
}

// passedThrough are the listeners for the further ports of an upstream's name.
func passedThrough(up ir.Upstream) []*listenerv3.Listener {
	var out []*listenerv3.Listener
	for _, port := range up.Passthrough {
		name := passthroughName(up, port)
		tcp := transparentTCP(name, name)
		tcp.AccessLog = []*accesslogv3.AccessLog{upstreamConnectionLog(name)}
		withstandConnections(tcp, ir.Resilience{})
		out = append(out, &listenerv3.Listener{
			Name:             name,
			Address:          socketAddress(up.Loopback, port),
			TrafficDirection: corev3.TrafficDirection_OUTBOUND,
			FilterChains: []*listenerv3.FilterChain{
				readinessProbeChain(),
				{Name: name, Filters: []*listenerv3.Filter{networkFilter(tcpFilter, tcp)}},
			},
		})
	}
	return out
}

// restOfNames is the name of what serves all ports of names in a captured pod that are no upstream's.
const restOfNames = "rest_of_names"

// Of the kind of cluster, and what goes before it, which dials the name and port that are written down for the connection.
const (
	dynamicHost = "envoy.upstream.dynamic_host"
	dynamicPort = "envoy.upstream.dynamic_port"
)

// restListener serves all ports of names that are no upstream's, by the address that the app has called. What comes to
// its own port without the rules is for nobody.
func (p envoy) restListener() []*listenerv3.Listener {
	if p.RestOfNames == 0 {
		return nil
	}
	listener := &listenerv3.Listener{
		Name:             restOfNames,
		Address:          socketAddress("127.0.0.1", p.RestOfNames),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		ListenerFilters: []*listenerv3.ListenerFilter{{
			Name:       "envoy.filters.listener.original_dst",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(&originaldstv3.OriginalDst{})},
		}},
		FilterChains: []*listenerv3.FilterChain{readinessProbeChain()},
	}
	for _, host := range p.NamedHosts() {
		name := "passthrough_" + host.IP
		tcp := transparentTCP(name, restOfNames)
		tcp.AccessLog = []*accesslogv3.AccessLog{upstreamConnectionLog(name)}
		withstandConnections(tcp, ir.Resilience{})
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name: name,
			FilterChainMatch: &listenerv3.FilterChainMatch{
				PrefixRanges: []*corev3.CidrRange{{AddressPrefix: host.IP, PrefixLen: count(32)}},
			},
			Filters: []*listenerv3.Filter{
				networkFilter("envoy.filters.network.set_filter_state", &setfilterstatev3.Config{
					OnNewConnection: []*filterstatev3.FilterStateValue{
						filterState(dynamicHost, p.LookedUp(host.Name.Address(1))), filterState(dynamicPort, "%DOWNSTREAM_LOCAL_PORT%"),
					},
				}),
				networkFilter("envoy.filters.network.sni_dynamic_forward_proxy", &snidfpv3.FilterConfig{DnsCacheConfig: p.restLookUp()}),
				networkFilter(tcpFilter, tcp),
			},
		})
	}
	return []*listenerv3.Listener{listener}
}

func filterState(key, value string) *filterstatev3.FilterStateValue {
	return &filterstatev3.FilterStateValue{
		Key: &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: key},
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: value},
			}},
		}},
	}
}

// restLookUp is the same for listener and cluster, which share what they look up.
func (p envoy) restLookUp() *dnscachev3.DnsCacheConfig {
	return &dnscachev3.DnsCacheConfig{
		Name:            restOfNames,
		DnsLookupFamily: p.restLookUpFamily(),
		DnsFailureRefreshRate: &clusterv3.Cluster_RefreshRate{
			BaseInterval: lasting(dnsRetry), MaxInterval: lasting(dnsRefresh),
		},
		DnsCacheCircuitBreaker: &dnscachev3.DnsCacheCircuitBreakers{MaxPendingRequests: count(plenty)},
	}
}

// restLookUpFamily is [envoy.dnsLookupFamily] in an older enumeration.
func (p envoy) restLookUpFamily() clusterv3.Cluster_DnsLookupFamily {
	if p.IPFamily == ir.IPv6 {
		return clusterv3.Cluster_AUTO
	}
	return clusterv3.Cluster_V4_PREFERRED
}

func (p envoy) restCluster() []*clusterv3.Cluster {
	if p.RestOfNames == 0 {
		return nil
	}
	cluster := &clusterv3.Cluster{
		Name:     restOfNames,
		LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED,
		ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dynamic_forward_proxy",
			TypedConfig: pack(&dfpv3.ClusterConfig{
				ClusterImplementationSpecifier: &dfpv3.ClusterConfig_DnsCacheConfig{DnsCacheConfig: p.restLookUp()},
			}),
		}},
		CircuitBreakers: unlimited(),
	}
	withstand(cluster, ir.Upstream{Address: p.NamedHosts()[0].Name.Address(1), Protocol: ir.TCP})
	return []*clusterv3.Cluster{cluster}
}

func (p envoy) passthroughClusters(up ir.Upstream) []*clusterv3.Cluster {
	var out []*clusterv3.Cluster
	for _, port := range up.Passthrough {
		name, plain := passthroughName(up, port), ir.Upstream{Address: up.Name.Address(port), Protocol: ir.TCP}
		cluster := &clusterv3.Cluster{
			Name:                 name,
			ClusterDiscoveryType: p.lookUp(plain),
			CircuitBreakers:      unlimited(),
			LoadAssignment:       endpoints(name, socketAddress(p.LookedUp(plain.Address), port)),
		}
		withstand(cluster, plain)
		out = append(out, cluster)
	}
	return out
}
