package templates

// Metrics is a port on all addresses where GET /stats/prometheus shows Envoy's statistics, and nothing else is answered.
type Metrics struct {
	// Port is zero for none.
	Port uint16
	// Include are prefixes of the names, in Envoy's own spelling with dots, of the statistics that are kept at all; the
	// admin interface has no others either. Empty keeps everything. What readiness needs and what tells of rejected
	// configuration is always kept. [DefaultStatistics] is a good list.
	Include []string
}

// DefaultStatistics is what an operator needs to see traffic, refusals and certificates, in a size that fits a large
// cluster: prefixes for [Metrics.Include].
func DefaultStatistics() []string {
	return []string{
		"http.inbound_", "http.upstream_",
	}
}
