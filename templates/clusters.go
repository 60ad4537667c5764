package templates

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnsclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// clusters is the content of ClustersFile: the apps behind the inbound ports, and the upstreams.
func (p envoy) clusters() []*clusterv3.Cluster {
	var out []*clusterv3.Cluster
	seen := map[uint16]bool{0: true} // several inbound ports may lead to one app, those of a gateway to none
	for _, in := range p.Inbound {
		if !seen[in.App] {
			seen[in.App] = true
			out = append(out, app(in))
		}
		if p.endsEarly(in) {
			out = append(out, earlyCluster(in))
		}
	}
	for _, up := range p.Upstreams {
		out = append(out, p.upstream(up))
		out = append(out, p.passthroughClusters(up)...)
	}
	out = append(out, p.restCluster()...)
	return boundClusters(slices.Concat(out, p.jwksClusters(), p.tracesClusters()))
}

// app is the app. A cluster's own time-out for connecting is Envoy's default of 5 s.
func app(in ir.Inbound) *clusterv3.Cluster {
	cluster := toApp(localCluster(appCluster(in), in.App), in.AppHost, in.App)
	cluster.CircuitBreakers = unlimited()
	if in.Protocol != ir.TCP {
		options := httpOptions(in.Protocol, likeFirstClient(&corev3.HttpProtocolOptions{IdleTimeout: lasting(appIdleTimeout)}))
		keepCase(options)
		cluster.TypedExtensionProtocolOptions = extension(options)
	}
	return cluster
}

// localCluster is one port on 127.0.0.1.
func localCluster(name string, port uint16) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment:       endpoints(name, socketAddress("127.0.0.1", port)),
	}
}

func (p envoy) upstream(up ir.Upstream) *clusterv3.Cluster {
	name := upstreamCluster(up)
	cluster := &clusterv3.Cluster{
		Name:                 name,
		AltStatName:          upstreamStats(up),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		CircuitBreakers:      unlimited(),
		TransportSocket:      p.upstreamTLS(up),
		LoadAssignment:       endpoints(name, socketAddress(p.LookedUp(up.Address), up.Address.Port())),
	}
	if !up.Address.IsIP() {
		cluster.ClusterDiscoveryType = p.lookUp(up)
	}
	p.nameHost(cluster, up)
	if up.Protocol != ir.TCP {
		var filters []*hcmv3.HttpFilter
		if up.JWTAudience != "" {
			filters = tokenFilters(up.JWTAudience)
		}
		options := httpOptions(up.Protocol, &corev3.HttpProtocolOptions{
			IdleTimeout: lasting(idleTimeout),
			// The client ends it between requests, so none is lost.
			MaxConnectionDuration: p.calledFor(up),
		}, filters...)
		options.RetryPolicy = ownRetries(up.Resilience.Retries)
		cluster.TypedExtensionProtocolOptions = extension(options)
	}
	withstand(cluster, up)
	askUpstream(cluster, up)
	return cluster
}

// httpOptions fixes the HTTP version of a cluster, and what happens to its requests.
func httpOptions(
	protocol ir.Protocol,
	common *corev3.HttpProtocolOptions,
	filters ...*hcmv3.HttpFilter,
) *upstreamhttpv3.HttpProtocolOptions {
	explicit := &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: http1Client(),
		},
	}
	if protocol.IsHTTP2() {
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: bound(http2Client(common)),
		}
	}
	return &upstreamhttpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: likeClient(common),
		UpstreamProtocolOptions:   &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
		HttpFilters:               filters,
	}
}

// extension makes HTTP options those of a cluster.
func extension(options *upstreamhttpv3.HttpProtocolOptions) map[string]*anypb.Any {
	return map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(options)}
}

// lookUp is for an upstream with a name: every address that it has, looked up again and again, as those of a headless
// service's pods. The answer says for how long it holds, so that an Envoy at rest does not ask more often than what it
// asks could change: a pod that ends has to be served for longer than that, see [ir.Proxy.Drain].
func (p envoy) lookUp(up ir.Upstream) *clusterv3.Cluster_ClusterType {
	dns := &dnsclusterv3.DnsCluster{
		RespectDnsTtl:  true,
		DnsRefreshRate: lasting(dnsRefresh),
		DnsFailureRefreshRate: &dnsclusterv3.DnsCluster_RefreshRate{
			BaseInterval: lasting(dnsRetry), MaxInterval: lasting(dnsRefresh),
		},
		DnsLookupFamily: p.dnsLookupFamily(),
	}
	if up.Server.External {
		lookUpOutside(dns)
	}
	return &clusterv3.Cluster_ClusterType{
		ClusterType: &clusterv3.Cluster_CustomClusterType{Name: "dns", TypedConfig: pack(dns)},
	}
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

// plenty is more than the ports and the memory of a pod allow.
const plenty = 1_000_000

// unlimited lifts Envoy's own limits of 1024 connections and requests: the app had none before it had a
// proxy, and its limits are its own business.
func unlimited() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     count(plenty),
		MaxPendingRequests: count(plenty),
		MaxRequests:        count(plenty),
	}}}
}
