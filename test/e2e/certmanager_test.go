package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/install"
)

// certManager puts cert-manager on the cluster for one test.
func certManager(t *testing.T) {
	t.Helper()
	remove, err := install.CertManager(t.Context(), shared.env, progress{t})
	if remove != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if t.Failed() {
				tell(ctx, t, "cert-manager", "logs", "deployment/cert-manager", "--tail=20")
			}
			if err := remove(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	must(t, err)
}

// certificate is what cert-manager says of a Certificate.
type certificate struct {
	Status struct {
		Revision   int              `json:"revision"`
		Conditions []map[string]any `json:"conditions"`
	} `json:"status"`
}

// renew asks cert-manager for a new certificate as `cmctl renew` does, and waits for it.
func renew(t *testing.T, namespace, name string) {
	t.Helper()
	var before certificate
	must(t, shared.k.Get(t.Context(), &before, "certificate", name, "--namespace", namespace))
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": append(before.Status.Conditions, map[string]any{
		"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "renewed by a test",
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	})}})
	must(t, err)
	k(t, namespace, "patch", "certificate", name, "--subresource=status", "--type=merge", "--patch", string(patch))
	eventually(t, "a new certificate "+name, func() error {
		var after certificate
		if err := shared.k.Get(t.Context(), &after, "certificate", name, "--namespace", namespace); err != nil {
			return err
		}
		if after.Status.Revision <= before.Status.Revision {
			return fmt.Errorf("it is still revision %d", after.Status.Revision)
		}
		return nil
	})
}
