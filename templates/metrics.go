package templates

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Metrics is a port on all addresses where GET /stats/prometheus shows Envoy's statistics, and nothing else is answered.
type Metrics struct {
	// Port is zero for none.
	Port uint16
	// Include are prefixes of the names, in Envoy's own spelling with dots, of the statistics that are kept at all; the
	// admin interface has no others either. Empty keeps everything. What readiness needs and what tells of rejected
	// configuration is always kept. [DefaultStatistics] is a good list.
	Include []string
}

const (
	metricsName = "metrics"
	metricsPath = "/stats/prometheus"
)

// DefaultStatistics are prefixes for [Metrics.Include]: requests and connections of callers and to upstreams with their
// results, handshakes and refusals, and how long certificates last. Left out is Envoy's inner life, which is most.
func DefaultStatistics() []string {
	return []string{
		"http.inbound_",     // requests of callers, and those refused or audited (rbac)
		"http.plain_",       // requests of callers in plain text, on permissive ports
		"http.upstreams.",   // requests of the app
		"tcp.",              // connections of callers and of the app that carry plain TCP
		"inbound_",          // TCP connections that are audited (rbac)
		"listener.0.0.0.0_", // handshakes of callers, by result
		"cluster.app_",      // the app as Envoy sees it
		"cluster.upstream_", // each upstream of the app, with its handshakes
		"cluster.route_",    // each upstream of a gateway
		"sds.",              // certificates that came from the agent
		"server.live", "server.uptime", "server.memory_allocated", "server.days_until_first_cert_expiring",
	}
}

// alwaysKept are prefixes of statistics that no list leaves out. The health_check filter reads how many members a cluster
// has from its statistics: without them nothing would ever be ready.
func alwaysKept() []string {
	return []string{
		"listener_manager.lds.update_", "cluster_manager.cds.update_", "extension_config_discovery.",
		"cluster." + ownPorts + ".membership_", "cluster." + appPorts + ".membership_",
		"cluster." + probePrefix + probeClusterPrefixes[ProbeTCP],
	}
}

// statsConfig is nil when everything is kept.
func (m Metrics) statsConfig() *metricsv3.StatsConfig {
	if m.Port == 0 || len(m.Include) == 0 {
		return nil
	}
	list := &matcherv3.ListStringMatcher{}
	for _, prefix := range append(alwaysKept(), m.Include...) {
		list.Patterns = append(list.Patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}})
	}
	return &metricsv3.StatsConfig{StatsMatcher: &metricsv3.StatsMatcher{
		StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: list},
	}}
}

func (p Proxy) metricsListeners() []*listenerv3.Listener {
	if p.Metrics.Port == 0 {
		return nil
	}
	return []*listenerv3.Listener{answering(metricsName, p.Metrics.Port, []*routev3.Route{{
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"},
			Headers:       []*routev3.HeaderMatcher{headerIs(":method", "GET"), headerIs(":path", metricsPath)},
		},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: metricsName},
		}},
	}})}
}

func (p Proxy) metricsClusters() []*clusterv3.Cluster {
	if p.Metrics.Port == 0 {
		return nil
	}
	return []*clusterv3.Cluster{localCluster(metricsName, AdminPort)}
}
