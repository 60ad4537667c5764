package monitoring

import (
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// Prefix is the beginning of the names of the injector's own metrics.
const Prefix = "spire_injector_"

// FederationPrefix begins the names of those that are exported only where the platform file has spire.federation.
const FederationPrefix = Prefix + "federation_"

// Known are all metrics of the injector itself, and those of its libraries that are of interest, with every value of
// each label that has few by design.
func Known() Metrics {
	result := []string{"success", "failure"}
	kind := []string{"full", "changes"}
	ports := []string{"webhook", "metrics", "health"}
	webhooks := []string{"mutate-pod", "validate-pod", "validate-workload"}
	operations := []string{"CREATE", "UPDATE"}
	// Admission may have been faster than the reconciler, which has no reason.
	entryReasons := append([]string{""}, reasons(reason.Entry)...)
	known := Metrics{
		Prefix + "admissions_total": {"webhook": webhooks, "operation": operations, "decision": {"admitted", "refused"}, "reason": reasons(reason.Decision, reason.Refusal)},

		Prefix + "connections":              {"port": ports},
		Prefix + "connections_closed_total": {"port": ports, "reason": {"evicted", "refused"}},

		Prefix + "config_reloads_total":                         {"result": result},
		Prefix + "config_last_reload_successful":                {},
		Prefix + "config_hash":                                  {},
		Prefix + "build_info":                                   {"version": nil}, // one at a time
		Prefix + "serving_certificate_expiry_timestamp_seconds": {},
		Prefix + "serving_certificate_lifetime_seconds":         {},
		Prefix + "svid_expiry_timestamp_seconds":                {},

		Prefix + "spire_requests_total": {"method": nil, "code": grpcCodes()}, // the methods that the registrar calls

		Prefix + "entries":          {"state": {"wanted", "registered", "missing", "orphaned", "refused", "without_bundle"}},
		Prefix + "rows":             {"state": {"wanted", "registered", "missing", "orphaned", "refused"}},
		Prefix + "reconciles_total": {"kind": kind, "result": result},
		Prefix + "reconcile_last_success_timestamp_seconds": {},
		Prefix + "entry_changes_total":                      {"action": {"create", "update", "refuse", "remove"}, "reason": entryReasons, "result": result},
		Prefix + "reconcile_queue_length":                   {},
		Prefix + "pending_pods":                             {},

		Prefix + "federation_refreshes_total":                {"trust_domain": nil, "result": result}, // those of the platform file
		Prefix + "federation_last_refresh_timestamp_seconds": {"trust_domain": nil},
		Prefix + "federation_refresh_interval_seconds":       {"trust_domain": nil},
		Prefix + "federation_bundle_changes_total":           {"trust_domain": nil},
		Prefix + "federation_relationship_in_place":          {"trust_domain": nil},
		Prefix + "federation_bundle_present":                 {"trust_domain": nil},

		Prefix + "rollout_pods":            {"state": {"outdated", "rejected", "needs_new_pod", "invalid", "rejected_at_start"}},
		Prefix + "rollout_paused":          {},
		Prefix + "rollout_refreshes_total": {"outcome": {"taken", "rejected", "unknown", "failed"}},

		Prefix + "quarantine_pods":          {"state": {"waiting", "needs_new_pod", "holding"}},
		Prefix + "quarantine_changes_total": {"outcome": {"changed", "failed"}},

		"leader_election_master_status": {"name": {"spire-injector"}},
		"workqueue_depth":               {"name": nil, "controller": nil, "priority": nil},
		"rest_client_requests_total":    {"code": nil, "method": nil, "host": nil},
	}
	known.histogram(Prefix+"admission_duration_seconds", Labels{"webhook": webhooks, "operation": operations})
	known.histogram(Prefix+"spire_request_duration_seconds", Labels{"method": nil})
	known.histogram(Prefix+"reconcile_duration_seconds", Labels{"kind": kind})
	return known
}

// KnownOfEnvoys are those statistics of Envoys that alerts and the dashboard read, as they are without
// sidecar.metrics.include in the platform file.
func KnownOfEnvoys() Metrics {
	return Metrics{
		"envoy_listener_ssl_certificate_expiration_unix_time_seconds": {"envoy_tls_certificate": nil, "spiffe_id": nil, "envoy_listener_address": nil},
		"envoy_cluster_ssl_certificate_expiration_unix_time_seconds":  {"envoy_tls_certificate": nil, "spiffe_id": nil, "envoy_cluster_name": nil},
		"envoy_listener_ssl_fail_verify_san":                          {"envoy_listener_address": nil},
		"envoy_listener_ssl_fail_verify_error":                        {"envoy_listener_address": nil},
		"envoy_listener_ssl_fail_verify_no_cert":                      {"envoy_listener_address": nil},
		"envoy_http_rbac_denied":                                      {"envoy_http_conn_manager_prefix": nil},
		"envoy_http_downstream_rq_total":                              {"envoy_http_conn_manager_prefix": nil},
		"envoy_tcp_downstream_cx_total":                               {"envoy_tcp_prefix": nil},
		"envoy_server_live":                                           {},
	}
}

// histogram adds what a histogram is in Prometheus.
func (m Metrics) histogram(name string, labels Labels) {
	m.Add(Metrics{name + "_bucket": labels, name + "_sum": labels, name + "_count": labels})
	m[name+"_bucket"]["le"] = nil
}

// reasons are all of some kinds.
func reasons(kinds ...reason.Kind) []string {
	var out []string
	for _, r := range reason.Of(kinds...) {
		out = append(out, r.String())
	}
	return out
}

// grpcCodes are the codes by gRPC's names, as in Unavailable.
func grpcCodes() []string {
	var out []string
	for c := codes.OK; !strings.HasPrefix(c.String(), "Code("); c++ {
		out = append(out, c.String())
	}
	return out
}
