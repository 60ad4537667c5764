package templates

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	metricsName = "metrics"
	metricsPath = "/stats/prometheus"
	// authorizationStats tells how reading AuthorizationFile went.
	authorizationStats = "extension_config_discovery.http_filter." + authorizationName + "."
)

// alwaysKept are prefixes of statistics that no list leaves out. The health_check filter reads how many members a
// cluster has from its statistics: without them nothing would ever be ready.
func alwaysKept() []string {
	out := []string{
		"cluster." + ownPorts + ".membership_", "cluster." + appPorts + ".membership_", "cluster." + podApps + ".membership_",
		"cluster." + probePrefix + probeClusterPrefixes[ir.ProbeTCP] + "*.membership_",
	}
	for _, source := range updateSources() {
		// Only the file of rules has the last one: what all sources have in common is written once.
		for _, name := range append(slices.Clone(updateStatistics), "config_fail") {
			out = append(out, source.prefix+name)
		}
	}
	return out
}

// svidTag makes the SPIFFE ID of an SVID a label of when it expires. Envoy's own tag for a certificate's name ends at the
// first dot, and what is left of the ID would be a part of the metric's name.
const svidTag = "spiffe_id"

// svidExpiry are prefixes of when the own SVID expires, in seconds since 1970: of one listener or cluster that presents
// it, if it can be told which, since all of them present the same.
func (p envoy) svidExpiry() string {
	at := "cluster.*."
	if slices.ContainsFunc(p.Inbound, func(in ir.Inbound) bool { return !in.Certificate }) {
		at = "listener.0.0.0.0_*."
	}
	return at + "ssl.certificate." + p.ID.String() + "."
}

// statsConfig is nil without statistics.
func (p envoy) statsConfig() *metricsv3.StatsConfig {
	m := p.Metrics
	if m.Port == 0 {
		return nil
	}
	tags := []*metricsv3.TagSpecifier{{
		TagName:  svidTag,
		TagValue: &metricsv3.TagSpecifier_Regex{Regex: `\.ssl\.certificate\.((spiffe://.+)\.)expiration`},
	}}
	if len(m.Include) == 0 {
		return &metricsv3.StatsConfig{StatsTags: tags}
	}
	prefixes := append(append(alwaysKept(), p.svidExpiry()), m.Include...)
	if p.HasTokens() {
		prefixes = append(prefixes, jwtStatistics)
	}
	// Envoy bounds the size of a pattern by a setting that it has not read yet when it reads this one.
	return &metricsv3.StatsConfig{StatsTags: tags, StatsMatcher: &metricsv3.StatsMatcher{
		StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: &matcherv3.ListStringMatcher{
			Patterns: []*matcherv3.StringMatcher{patternMatcher(anyOf(prefixes))},
		}},
	}}
}

func (p envoy) metricsListeners() []*listenerv3.Listener {
	if p.Metrics.Port == 0 {
		return nil
	}
	return []*listenerv3.Listener{answering(metricsName, p.Metrics.Port, nil, []*routev3.Route{{
		Match: anyPath(asks("GET", metricsPath)...),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: metricsName},
		}},
	}})}
}

func (p envoy) metricsClusters() []*clusterv3.Cluster {
	if p.Metrics.Port == 0 {
		return nil
	}
	return []*clusterv3.Cluster{localCluster(metricsName, ir.AdminPort)}
}
