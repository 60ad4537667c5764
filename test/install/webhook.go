package install

import (
	"context"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/test/kubectl"
)

// trial is a pod that asks for injection; it is only ever tried, never created.
const trial = `{
  "apiVersion": "v1", "kind": "Pod",
  "metadata": {
    "name": "spire-injector-trial", "namespace": "default", "labels": {"spiffe.io/inject": "enabled"},
    "annotations": {"spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/*"}
  },
  "spec": {"containers": [{"name": "app", "image": "app"}]}
}`

// AwaitWebhook returns once the API server reaches the webhook. A ready replica is not enough: the node's rules for the
// Service follow by a second or so.
func AwaitWebhook(ctx context.Context, k kubectl.Kubectl) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := k.With(ctx, trial, "create", "--dry-run=server", "-f", "-")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server does not get an answer of the webhook: %w", err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
