package envoy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/monitoring"
)

// TestMetrics: one page, of the statistics that are asked for.
func TestMetrics(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	p.Inbound[0].TLS = ir.Permissive
	p.Upstreams = []ir.Upstream{{Listen: freePort(t), Address: address(t, freePort(t)), Peers: peers(t, "/api")}}
	p.Metrics = ir.Metrics{Port: freePort(t), Include: ir.DefaultStatistics()}
	p.MemoryLimit, p.Tracing = 256<<20, ir.Tracing{Collector: address(t, freePort(t)), Percent: 100}
	x := startProxy(t, p)
	x.waitReady()
	expect(t, tlsClient(t, agent, "/valid"), fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen), 200, "ok")
	expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", p.Inbound[0].Listen), 200, "ok")
	if _, _, err := get(tlsClient(t, agent, "/other"), fmt.Sprintf("https://127.0.0.1:%d/", p.Inbound[0].Listen)); err == nil {
		t.Error("a caller that is no peer got in")
	}
	for _, event := range []string{"request", "plain_request", "handshake_refused"} {
		x.waitEvent(event, nil)
	}
	lines := len(x.events(""))

	base := fmt.Sprintf("http://127.0.0.1:%d", p.Metrics.Port)
	status, page, err := get(http.DefaultClient, base+"/stats/prometheus")
	must(t, err)
	if status != 200 {
		t.Fatalf("got %d", status)
	}
	for _, want := range []string{
		fmt.Sprintf(`envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="inbound_%d"} 1`, p.Inbound[0].Listen),
		fmt.Sprintf(`envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="plain_%d"} 1`, p.Inbound[0].Listen),
		fmt.Sprintf(`envoy_listener_ssl_fail_verify_san{envoy_listener_address="0.0.0.0_%d"} 1`, p.Inbound[0].Listen),
		fmt.Sprintf(`envoy_cluster_upstream_rq_total{envoy_cluster_name="app_%d"} 2`, p.Inbound[0].App),
		fmt.Sprintf(`envoy_cluster_upstream_cx_connect_fail{envoy_cluster_name="upstream_%d"} 0`, p.Upstreams[0].Listen),
		"envoy_listener_manager_lds_update_rejected{} 0",
		"envoy_listener_manager_lds_update_failure{} 0",
		"envoy_cluster_manager_cds_update_rejected{} 0",
		"envoy_cluster_manager_cds_update_failure{} 0",
		"envoy_server_live{} 1",
		fmt.Sprintf(`envoy_listener_ssl_certificate_expiration_unix_time_seconds{envoy_tls_certificate="spiffe://example",spiffe_id="spiffe://example.org/api",envoy_listener_address="0.0.0.0_%d"} %d`,
			p.Inbound[0].Listen, svidExpiry(t, x)),
		"envoy_envoy_overload_actions_reset_high_memory_stream_count{} 0",
		fmt.Sprintf(`envoy_http_downstream_rq_overload_close{envoy_http_conn_manager_prefix="inbound_%d"} 0`, p.Inbound[0].Listen),
		fmt.Sprintf(`envoy_listener_downstream_cx_overload_reject{envoy_listener_address="0.0.0.0_%d"} 0`, p.Inbound[0].Listen),
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	for _, want := range []string{"envoy_overload_heap_pressure{} ", "envoy_tracing_opentelemetry_spans_dropped{} "} {
		if !strings.Contains(page, want) {
			t.Errorf("missing: %s", want)
		}
	}
	exported, err := monitoring.Exported(page)
	must(t, err)
	for name, labels := range monitoring.KnownOfEnvoys() {
		if strings.HasPrefix(name, "envoy_tcp_") || strings.HasPrefix(name, "envoy_cluster_ssl_certificate_") {
			continue // this one has no such port, and a listener with its SVID
		}
		if got := slices.Sorted(maps.Keys(exported[name])); !slices.Equal(got, slices.Sorted(maps.Keys(labels))) {
			t.Errorf("%s, which alerts or the dashboard read, has the labels %q", name, got)
		}
	}
	for _, unwanted := range []string{"envoy_runtime_", `prefix="readiness"`, "envoy_filesystem_", "expiration_unix_time_seconds{envoy_tls_certificate=\"spiffe://example\",spiffe_id=\"spiffe://example.org_", "spire_agent", "envoy_workers_"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("%s is on the page", unwanted)
		}
	}
	t.Logf("the page has %d bytes in %d lines", len(page), strings.Count(page, "\n"))

	for _, path := range []string{"/", "/stats", "/stats/prometheus/", "/stats/prometheus?usedonly", "/config_dump", "/quitquitquit", "/ready"} {
		expect(t, http.DefaultClient, base+path, 404, "")
	}
	response, err := http.Post(base+"/stats/prometheus", "text/plain", nil)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %s", response.Status)
	}
	if got := len(x.events("")); got != lines {
		t.Errorf("%d lines more in the log", got-lines)
	}
}

// svidExpiry is when the SVID of an Envoy expires, in seconds since 1970, as its admin interface has it.
func svidExpiry(t *testing.T, x *proxy) int64 {
	t.Helper()
	_, page, err := get(http.DefaultClient, x.admin+"/certs")
	must(t, err)
	var certs struct {
		Certificates []struct {
			Chain []struct {
				Until time.Time `json:"expiration_time"`
			} `json:"cert_chain"`
		} `json:"certificates"`
	}
	must(t, json.Unmarshal([]byte(page), &certs))
	for _, c := range certs.Certificates {
		if len(c.Chain) > 0 {
			return c.Chain[0].Until.Unix()
		}
	}
	t.Fatal("Envoy has no SVID")
	return 0
}

// A client has no listener with its SVID, and all statistics have the same names as some.
func TestExpiryOfSVIDs(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/api")
	p := apiProxy(t, agent, "/valid")
	p.Inbound = nil
	p.Upstreams = []ir.Upstream{{Listen: freePort(t), Address: address(t, freePort(t)), Peers: peers(t, "/api")}}
	for name, include := range map[string][]string{"some": ir.DefaultStatistics(), "all": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := p
			p.Upstreams = slices.Clone(p.Upstreams)
			p.Upstreams[0].Listen = freePort(t)
			p.Metrics = ir.Metrics{Port: freePort(t), Include: include}
			x := startProxy(t, p)
			x.waitReady()
			_, page, err := get(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/stats/prometheus", p.Metrics.Port))
			must(t, err)
			want := fmt.Sprintf(`envoy_cluster_ssl_certificate_expiration_unix_time_seconds{envoy_tls_certificate="spiffe://example",spiffe_id="spiffe://example.org/api",envoy_cluster_name="upstream_%d"} %d`,
				p.Upstreams[0].Listen, svidExpiry(t, x))
			if !strings.Contains(page, want+"\n") {
				t.Errorf("missing: %s", want)
			}
		})
	}
}
