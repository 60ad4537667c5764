package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// webhookDuration is the API server's histogram of how long admission webhooks took.
const webhookDuration = "apiserver_admission_webhook_admission_duration_seconds"

// webhookCalls is how often the API server has called a webhook since it started, and how long that took in all.
type webhookCalls struct {
	count uint64
	took  time.Duration
}

// webhookCalls asks one API server: where there are several, it tells of its own calls.
func (c *cluster) webhookCalls(ctx context.Context, name string) (webhookCalls, error) {
	text, err := c.client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return webhookCalls{}, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return parseWebhookCalls(text, name)
}

// parseWebhookCalls adds up what metrics in Prometheus' text format say of a webhook; that is nothing before its first
// call.
func parseWebhookCalls(metrics []byte, name string) (webhookCalls, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics))
	if err != nil {
		return webhookCalls{}, fmt.Errorf("parsing the API server's metrics: %w", err)
	}
	var calls webhookCalls
	for _, m := range families[webhookDuration].GetMetric() {
		for _, label := range m.GetLabel() {
			if label.GetName() == "name" && label.GetValue() == name {
				calls.count += m.GetHistogram().GetSampleCount()
				calls.took += time.Duration(m.GetHistogram().GetSampleSum() * float64(time.Second))
			}
		}
	}
	return calls, nil
}

// since is the number of calls after an earlier look, and their mean duration.
func (w webhookCalls) since(earlier webhookCalls) (count uint64, mean time.Duration) {
	if w.count <= earlier.count {
		return 0, 0
	}
	count = w.count - earlier.count
	return count, (w.took - earlier.took) / time.Duration(count) //nolint:gosec // a number of calls
}
