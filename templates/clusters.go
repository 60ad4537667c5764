package templates

import (
	"fmt"
	"math"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

const httpOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func appCluster(in Inbound) string       { return fmt.Sprintf("app_%d", in.App) }
func upstreamCluster(up Upstream) string { return fmt.Sprintf("upstream_%d", up.Listen) }

// clusters is the content of ClustersFile: the apps behind the inbound ports, and the upstreams.
func (p Proxy) clusters() []*clusterv3.Cluster {
	var out []*clusterv3.Cluster
	seen := map[uint16]bool{} // several inbound ports may lead to one app
	for _, in := range p.Inbound {
		if seen[in.App] {
			continue
		}
		seen[in.App] = true
		out = append(out, &clusterv3.Cluster{
			Name:                 appCluster(in),
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			ConnectTimeout:       lasting(connectTimeout),
			CircuitBreakers:      unlimited(),
			TypedExtensionProtocolOptions: httpOptions(in.Protocol, &corev3.HttpProtocolOptions{
				IdleTimeout: lasting(appIdleTimeout),
			}),
			LoadAssignment: endpoints(appCluster(in), socketAddress("127.0.0.1", in.App)),
		})
	}
	for _, up := range p.Upstreams {
		out = append(out, p.upstream(up))
	}
	return out
}

func (p Proxy) upstream(up Upstream) *clusterv3.Cluster {
	cluster := &clusterv3.Cluster{
		Name:                 upstreamCluster(up),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       lasting(connectTimeout),
		CircuitBreakers:      unlimited(),
		TransportSocket:      upstreamTLS(p.ID, up),
		LoadAssignment:       endpoints(upstreamCluster(up), socketAddress(up.Address.host, up.Address.port)),
	}
	if !up.Address.ip {
		// Every address that the name has, looked up anew all the time: a headless service's pods.
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dns",
			TypedConfig: pack(&dnsclusterv3.DnsCluster{
				DnsRefreshRate: lasting(dnsRefresh),
				DnsFailureRefreshRate: &dnsclusterv3.DnsCluster_RefreshRate{
					BaseInterval: lasting(dnsRetry), MaxInterval: lasting(dnsRefresh),
				},
				// Inbound ports listen on IPv4.
				DnsLookupFamily: commondnsv3.DnsLookupFamily_V4_PREFERRED,
			}),
		}}
	}
	if up.Protocol != TCP {
		cluster.TypedExtensionProtocolOptions = httpOptions(up.Protocol, &corev3.HttpProtocolOptions{
			IdleTimeout: lasting(idleTimeout),
			// The client ends it between requests, so none is lost.
			MaxConnectionDuration: lasting(p.connectionLife()),
		})
	}
	return cluster
}

// httpOptions fixes the HTTP version of a cluster.
func httpOptions(protocol Protocol, common *corev3.HttpProtocolOptions) map[string]*anypb.Any {
	explicit := &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		},
	}
	if protocol.isHTTP2() {
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}
	}
	return map[string]*anypb.Any{httpOptionsKey: pack(&upstreamhttpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: common,
		UpstreamProtocolOptions:   &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	})}
}

func endpoints(cluster string, addresses ...*corev3.Address) *endpointv3.ClusterLoadAssignment {
	group := &endpointv3.LocalityLbEndpoints{}
	for _, address := range addresses {
		group.LbEndpoints = append(group.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{group}}
}

// unlimited lifts Envoy's own limits of 1024 connections and requests: the app had none before it had a
// proxy, and its limits are its own business.
func unlimited() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     count(math.MaxUint32),
		MaxPendingRequests: count(math.MaxUint32),
		MaxRequests:        count(math.MaxUint32),
	}}}
}
