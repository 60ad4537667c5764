package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
)

func TestMetricsOfTheProcess(t *testing.T) {
	t.Parallel()
	certificate, svid := time.Time{}, time.Time{}
	expiry := func(at *time.Time) func() (time.Time, bool) {
		return func() (time.Time, bool) { return *at, !at.IsZero() }
	}
	registry := prometheus.NewRegistry()
	lifetime := func() (time.Duration, bool) { return time.Minute, !certificate.IsZero() }
	p := Process{Version: "v1", Certificate: expiry(&certificate), SVID: expiry(&svid), Lifetime: lifetime}
	if err := p.Register(registry); err != nil {
		t.Fatal(err)
	}
	want := func(want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	want(map[string]float64{"spire_injector_build_info v1": 1})
	certificate, svid = time.Unix(2000, 0), time.Unix(1000, 0)
	want(map[string]float64{
		"spire_injector_build_info v1":                                1,
		"spire_injector_serving_certificate_expiry_timestamp_seconds": 2000,
		"spire_injector_serving_certificate_lifetime_seconds":         60,
		"spire_injector_svid_expiry_timestamp_seconds":                1000,
	})
	if err := p.Register(registry); err == nil {
		t.Error("expected an error of metrics that are there already")
	}
}

func TestMetricsOfCallsToSPIRE(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := NewSPIREMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.Observe("ListEntries", codes.OK, 30*time.Millisecond)
	m.Observe("ListEntries", codes.Unavailable, time.Second)
	want := `
# HELP spire_injector_spire_requests_total Calls to the SPIRE server, by method and gRPC status code.
# TYPE spire_injector_spire_requests_total counter
spire_injector_spire_requests_total{code="OK",method="ListEntries"} 1
spire_injector_spire_requests_total{code="Unavailable",method="ListEntries"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "spire_injector_spire_requests_total"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "spire_injector_spire_request_duration_seconds" {
			continue
		}
		if got := family.GetMetric()[0].GetHistogram(); got.GetSampleCount() != 2 || got.GetSampleSum() != 1.03 {
			t.Errorf("expected two calls that took 1.03 s, got %v", got)
		}
		return
	}
	t.Error("nothing says how long calls take")
}

// gathered are the gauges of a registry, by name and label values.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetGauge().GetValue()
		}
	}
	return got
}
