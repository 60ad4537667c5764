package monitoring

import (
	"fmt"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Exported are the metrics in what a process exports, in Prometheus' text format.
func Exported(text string) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading exported metrics: %w", err)
	}
	out := Metrics{}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			labels := Labels{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = []string{label.GetValue()}
			}
			if metric.GetHistogram() == nil {
				out.Add(Metrics{name: labels})
				continue
			}
			out.Add(Metrics{name + "_bucket": labels, name + "_sum": labels, name + "_count": labels})
			out[name+"_bucket"]["le"] = nil
		}
	}
	return out, nil
}
