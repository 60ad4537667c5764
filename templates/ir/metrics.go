package ir

// Metrics is a port on all addresses where GET /stats/prometheus shows Envoy's statistics, and nothing else is
// answered.
type Metrics struct {
	// Port is zero for none.
	Port uint16
	// Include are prefixes of the names, in Envoy's own spelling with dots, of the statistics that are kept at all; the
	// admin interface has no others either. An asterisk stands for any text without a dot: "cluster.*.upstream_rq_" has
	// the requests to all clusters. Empty keeps everything. What readiness needs, what tells of rejected configuration,
	// and when the SVID expires is always kept. [DefaultStatistics] is a good list.
	Include []string
}

// DefaultStatistics is for [Metrics.Include]: requests and connections of callers and to upstreams, how they ended and
// how long they took; handshakes and why they failed; how long the certificate still lasts; what was shed for want of
// memory; and which spans were sent and dropped. With one inbound port and one upstream that is a tenth of all.
func DefaultStatistics() []string {
	out := []string{
		"http.inbound_*.rbac.", "inbound_*.rbac.", // refused and audited requests, audited TCP connections
		"tcp.*.downstream_cx_total", "tcp.*.downstream_cx_rx_bytes_total", "tcp.*.downstream_cx_tx_bytes_total",
		"server.live", "server.uptime", "server.memory_physical_size", "server.days_until_first_cert_expiring",
		// How near the memory limit is, and what was shed for it: streams, and below requests and connections.
		"overload.heap.pressure", "envoy.overload_actions.reset_high_memory_stream.count",
		"tracing.opentelemetry.spans_",
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
		"downstream_rq_total", "downstream_rq_*xx", "downstream_rq_time", "downstream_cx_active",
		"downstream_rq_overload_close")
	// The app, each upstream of an app, each of a gateway, and the callers' handshakes. The app has none, but what all
	// clusters have in common is shorter to say.
	clusters := []string{"cluster.app_*.", "cluster.upstream_*.", "cluster.route_*."}
	add(clusters, "upstream_rq_total", "upstream_rq_*xx", "upstream_rq_time", "upstream_rq_pending_failure_eject",
		"upstream_cx_active", "upstream_cx_connect_fail", "membership_total", "membership_healthy")
	add(append(clusters, "listener.0.0.0.0_*."), "ssl.handshake", "ssl.connection_error", "ssl.fail_verify_")
	add([]string{"listener.0.0.0.0_*."}, "downstream_cx_overload_reject")
	return out
}
