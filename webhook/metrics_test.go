package webhook

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	injector := inject.Injector{Platform: webhooktest.Platform(t)}
	v := &WorkloadValidator{
		Injector:   func() inject.Injector { return injector },
		Namespaces: namespaces{cached: intent.Namespace{Name: "demo"}, live: intent.Namespace{Name: "demo"}},
		Metrics:    m,
	}
	bad := webhooktest.Server()
	bad.Annotations[intent.AnnotationAllowedPeers] = "web"
	v.Handle(context.Background(), workloadOf(t, "apps/v1/Deployment", bad))
	v.Handle(context.Background(), workloadOf(t, "apps/v1/Deployment", webhooktest.Server()))
	v.Handle(context.Background(), workloadOf(t, "batch/v1/Job", webhooktest.Server()))

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
