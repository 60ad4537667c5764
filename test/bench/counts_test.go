package main

import (
	"testing"
	"time"
)

const someMetrics = `# HELP apiserver_admission_webhook_admission_duration_seconds Admission webhook latency
# TYPE apiserver_admission_webhook_admission_duration_seconds histogram
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="CREATE",rejected="false",type="admit",le="0.005"} 2
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="CREATE",rejected="false",type="admit",le="+Inf"} 4
apiserver_admission_webhook_admission_duration_seconds_sum{name="a",operation="CREATE",rejected="false",type="admit"} 0.25
apiserver_admission_webhook_admission_duration_seconds_count{name="a",operation="CREATE",rejected="false",type="admit"} 4
apiserver_admission_webhook_admission_duration_seconds_bucket{name="a",operation="CREATE",rejected="true",type="admit",le="+Inf"} 1
apiserver_admission_webhook_admission_duration_seconds_sum{name="a",operation="CREATE",rejected="true",type="admit"} 0.75
apiserver_admission_webhook_admission_duration_seconds_count{name="a",operation="CREATE",rejected="true",type="admit"} 1
apiserver_admission_webhook_admission_duration_seconds_bucket{name="b",operation="CREATE",rejected="false",type="admit",le="+Inf"} 9
apiserver_admission_webhook_admission_duration_seconds_sum{name="b",operation="CREATE",rejected="false",type="admit"} 9
apiserver_admission_webhook_admission_duration_seconds_count{name="b",operation="CREATE",rejected="false",type="admit"} 9
`

func TestWebhookCallsAddUp(t *testing.T) {
	for name, want := range map[string]webhookCalls{
		"a":     {count: 5, took: time.Second},
		"b":     {count: 9, took: 9 * time.Second},
		"never": {},
	} {
		got, err := parseWebhookCalls([]byte(someMetrics), name)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestWebhookCallsSince(t *testing.T) {
	earlier := webhookCalls{count: 10, took: time.Second}
	count, mean := webhookCalls{count: 14, took: 3 * time.Second}.since(earlier)
	if count != 4 || mean != 500*time.Millisecond {
		t.Errorf("got %d calls of %v, want 4 of 500ms", count, mean)
	}
	if count, mean := earlier.since(earlier); count != 0 || mean != 0 {
		t.Errorf("no call: got %d of %v", count, mean)
	}
	// The API server began anew.
	if count, mean := (webhookCalls{}).since(earlier); count != 0 || mean != 0 {
		t.Errorf("after a restart: got %d of %v", count, mean)
	}
}
