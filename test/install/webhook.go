package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/command"
)

// trial is a pod that asks for injection; it is only ever tried, never created.
const trial = `{
  "apiVersion": "v1", "kind": "Pod",
  "metadata": {
    "name": "spire-injector-trial", "labels": {"spiffe.io/inject": "enabled"},
    "annotations": {"spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/*"}
  },
  "spec": {"containers": [{"name": "app", "image": "app"}]}
}`

// AwaitWebhook returns once pods are injected. A ready replica is not enough: the node's rules for the Service follow
// by a second or so.
func AwaitWebhook(ctx context.Context, k command.Kubectl) error {
	return awaitInjection(ctx, k, "default")
}

func awaitInjection(ctx context.Context, k command.Kubectl, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		out, err := k.With(ctx, trial, "create", "--dry-run=server", "-o", "json", "--namespace", namespace, "-f", "-")
		if err == nil && !strings.Contains(out, `"spiffe.io/status"`) {
			err = errors.New("a pod that asks for injection is created as it is")
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server does not get an answer of the webhook for namespace %s: %w", namespace, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
