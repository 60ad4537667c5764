package templates

import (
	"regexp"
	"strings"

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
	// admin interface has no others either. An asterisk stands for any text without a dot: "cluster.*.upstream_rq_" has the
	// requests to all clusters. Empty keeps everything. What readiness needs and what tells of rejected configuration is always kept.
	// [DefaultStatistics] is a good list.
	Include []string
}

const (
	metricsName = "metrics"
	metricsPath = "/stats/prometheus"
	// authorizationStats tells how reading AuthorizationFile went.
	authorizationStats = "extension_config_discovery.http_filter." + authorizationName + "."
)

// DefaultStatistics is for [Metrics.Include]: requests and connections of callers and to upstreams, how they ended and how
// long they took; handshakes and why they failed; and how long the certificate still lasts. With one inbound port and one
// upstream that is a tenth of all.
func DefaultStatistics() []string {
	out := []string{
		"http.inbound_*.rbac.", "inbound_*.rbac.", // refused and audited requests, audited TCP connections
		"tcp.*.downstream_cx_total", "tcp.*.downstream_cx_rx_bytes_total", "tcp.*.downstream_cx_tx_bytes_total",
		"server.live", "server.uptime", "server.memory_physical_size", "server.days_until_first_cert_expiring",
	}
	add := func(roots []string, names ...string) {
		for _, root := range roots {
			for _, name := range names {
				out = append(out, root+name)
			}
		}
	}
	// Callers, those in plain text on permissive ports, and the app.
	add([]string{"http.inbound_*.", "http.plain_*.", "http.upstreams."},
		"downstream_rq_total", "downstream_rq_*xx", "downstream_rq_time", "downstream_cx_active")
	// The app, each upstream of an app, each of a gateway, and the callers' handshakes.
	clusters := []string{"cluster.app_*.", "cluster.upstream_*.", "cluster.route_*."}
	add(clusters, "upstream_rq_total", "upstream_rq_*xx", "upstream_rq_time", "upstream_rq_pending_failure_eject",
		"upstream_cx_active", "upstream_cx_connect_fail", "membership_total", "membership_healthy")
	add(append(clusters[1:], "listener.0.0.0.0_*."), "ssl.handshake", "ssl.connection_error", "ssl.fail_verify_")
	return out
}

// alwaysKept are prefixes of statistics that no list leaves out. The health_check filter reads how many members a cluster
// has from its statistics: without them nothing would ever be ready.
func alwaysKept() []string {
	out := []string{
		"cluster." + ownPorts + ".membership_", "cluster." + appPorts + ".membership_",
		"cluster." + probePrefix + probeClusterPrefixes[ProbeTCP] + "*.membership_",
	}
	for _, source := range updateSources() {
		for _, name := range updateStatistics {
			out = append(out, source.prefix+name)
		}
	}
	return append(out, authorizationStats+"config_fail")
}

// statsConfig is nil when everything is kept.
func (p Proxy) statsConfig() *metricsv3.StatsConfig {
	m := p.Metrics
	if m.Port == 0 || len(m.Include) == 0 {
		return nil
	}
	list := &matcherv3.ListStringMatcher{}
	prefixes := append(alwaysKept(), m.Include...)
	if p.hasTokens() {
		prefixes = append(prefixes, jwtStatistics)
	}
	for _, prefix := range prefixes {
		list.Patterns = append(list.Patterns, namesFrom(prefix))
	}
	return &metricsv3.StatsConfig{StatsMatcher: &metricsv3.StatsMatcher{
		StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: list},
	}}
}

// namesFrom matches the names that an item of [Metrics.Include] means.
func namesFrom(prefix string) *matcherv3.StringMatcher {
	if !strings.Contains(prefix, "*") {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}}
	}
	expression := strings.ReplaceAll(regexp.QuoteMeta(prefix), `\*`, `[^.]*`) + ".*"
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: expression},
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
