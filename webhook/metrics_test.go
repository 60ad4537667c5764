package webhook

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	injector := Injector{Platform: platform(t)}
	v := &WorkloadValidator{Injector: func() Injector { return injector }, Namespaces: namespaces{cached: Namespace{Name: "demo"}, live: Namespace{Name: "demo"}}, Metrics: m}
	bad := server()
	bad.Annotations[AnnotationAllowedPeers] = "web"
	v.Handle(context.Background(), workloadOf(t, "apps/v1/Deployment", bad))
	v.Handle(context.Background(), workloadOf(t, "apps/v1/Deployment", server()))
	v.Handle(context.Background(), workloadOf(t, "batch/v1/Job", server()))

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := []string{family.GetName()}
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			got[strings.Join(labels, " ")] = metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"spire_injector_admissions_total refused CREATE Invalid validate-workload":     1,
		"spire_injector_admissions_total admitted CREATE PodEnabled validate-workload": 2,
		"spire_injector_admission_duration_seconds CREATE validate-workload":           3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got, of %v:\n%s", slices.Sorted(maps.Keys(got)), diff)
	}
}
