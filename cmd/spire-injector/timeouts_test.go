package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/replica"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook"
)

// One waits for the other, and so what is inside has to end before what is around it.
func TestTimeouts(t *testing.T) {
	mutating, validating := webhookTimeouts(t, "webhook.yaml"), webhookTimeouts(t, "webhook-validating.yaml")
	for _, tc := range []struct {
		inner     string
		ends      time.Duration
		spare     time.Duration // what is done besides
		outer     string
		otherwise time.Duration
		why       string
	}{
		{"the wait for SPIRE at admission", webhook.RegisterTimeout, 2 * time.Second, "timeoutSeconds of the mutating webhooks", mutating,
			"the API server would say only that its deadline is exceeded, and onUnavailable: admit would never come about"},
		{"the wait for SPIRE at admission", webhook.RegisterTimeout, 0, "the timeout of a registration", registrar.DefaultTimeout,
			"who tries again could not find what the first try began"},
		{"timeoutSeconds of the mutating webhooks", mutating, 0, "the API server's limit", 30 * time.Second, "the configuration would not be taken"},
		{"timeoutSeconds of the validating webhooks", validating, 0, "the API server's limit", 30 * time.Second, "the configuration would not be taken"},
		{"the API server's wait for a webhook", max(mutating, validating), 0, "the time to end gracefully", gracefulShutdown,
			"a replica would end while the API server waits for it"},
		{"the end of a replica", replica.ShutdownDelay + gracefulShutdown, time.Nanosecond, "the calm before a rollout", calm,
			"a new leader would change pods beside replicas of the version before"},
		{"the TTL of entries that SPIRE confirmed", registrar.DefaultCacheTTL, mutating, "the shortest grace period of entries", minGrace,
			"a replica would take an entry for granted that the leader removes"},
	} {
		if tc.ends+tc.spare > tc.otherwise {
			t.Errorf("%s (%v, and %v besides) is above %s (%v): %s", tc.inner, tc.ends, tc.spare, tc.outer, tc.otherwise, tc.why)
		}
	}
}

// webhookTimeouts is the longest timeoutSeconds of a webhook configuration.
func webhookTimeouts(t *testing.T, file string) time.Duration {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "manifests", "injector", "base", file))
	if err != nil {
		t.Fatal(err)
	}
	var longest int32
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		var c admissionregistrationv1.MutatingWebhookConfiguration
		if err := yaml.Unmarshal(document, &c); err != nil {
			t.Fatal(err)
		}
		for _, hook := range c.Webhooks {
			if hook.TimeoutSeconds == nil {
				t.Errorf("%s: webhook %s has no timeoutSeconds", file, hook.Name)
				continue
			}
			longest = max(longest, *hook.TimeoutSeconds)
		}
	}
	if longest == 0 {
		t.Fatalf("%s: no webhooks", file)
	}
	return time.Duration(longest) * time.Second
}
