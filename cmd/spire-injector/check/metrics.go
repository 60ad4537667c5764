package check

import (
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics are the values of counters and gauges, by name.
type Metrics map[string][]Sample

// Sample is one value of a metric.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// ParseMetrics reads Prometheus' text format. Histograms are left out.
func ParseMetrics(text string) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("expected metrics in Prometheus' text format: %w", err)
	}
	out := Metrics{}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			if value, ok := valueOf(metric); ok {
				labels := map[string]string{}
				for _, label := range metric.GetLabel() {
					labels[label.GetName()] = label.GetValue()
				}
				out[name] = append(out[name], Sample{labels, value})
			}
		}
	}
	return out, nil
}

func valueOf(m *dto.Metric) (float64, bool) {
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue(), true
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue(), true
	case m.GetUntyped() != nil:
		return m.GetUntyped().GetValue(), true
	}
	return 0, false
}

// one is the value of a metric without labels.
func (m Metrics) one(name string) (value float64, ok bool) {
	if len(m[name]) != 1 {
		return 0, false
	}
	return m[name][0].Value, true
}

// by sums a metric by one of its labels.
func (m Metrics) by(name, label string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range m[name] {
		out[s.Labels[label]] += s.Value
	}
	return out
}
