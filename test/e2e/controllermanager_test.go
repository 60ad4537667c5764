package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/install"
)

// controllerManager puts spire-controller-manager on the cluster for one test, and the SPIRE server's socket where it
// finds it.
func controllerManager(t *testing.T) install.ControllerManager {
	t.Helper()
	t.Cleanup(func() {
		// Also the entries of the injector's own: a manager without a prefix takes them along.
		if err := install.Platform(context.Background(), shared.env, platform(), progress{t}); err != nil {
			t.Error(err)
		}
	})
	must(t, install.SPIRE(t.Context(), shared.env, manifests("spire/overlays/unix-socket"), progress{t}))
	manager, err := install.NewControllerManager(t.Context(), shared.env, progress{t})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := manager.Uninstall(ctx); err != nil {
			t.Error(err)
		}
	})
	return manager
}

// managerRun is a run of spire-controller-manager with some settings.
type managerRun struct {
	manager install.ControllerManager
	start   time.Time
}

// startManager runs it until the test is over, or until it is stopped.
func startManager(t *testing.T, manager install.ControllerManager, s install.ControllerManagerSettings) managerRun {
	t.Helper()
	r := managerRun{manager: manager, start: time.Now()}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			logs, err := shared.k.Run(ctx, "--namespace", install.ControllerManagerNamespace, "logs", "deployment/spire-controller-manager", "--tail=50")
			t.Logf("log of spire-controller-manager (%v)\n%s", err, logs)
		}
		if err := manager.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	must(t, manager.Start(t.Context(), s, progress{t}))
	return r
}

func (r managerRun) stop(t *testing.T) {
	t.Helper()
	must(t, r.manager.Stop(t.Context()))
}

// managerLog is what a run says of itself.
type managerLog struct {
	passes  int            // that have ended
	deleted map[string]int // how often, by entry ID
}

func (r managerRun) log(t *testing.T) managerLog {
	t.Helper()
	out, err := shared.k.Run(t.Context(), "--namespace", install.ControllerManagerNamespace, "logs", "deployment/spire-controller-manager")
	must(t, err)
	return parseManagerLog(out)
}

func parseManagerLog(text string) managerLog {
	l := managerLog{deleted: map[string]int{}}
	for line := range strings.Lines(text) {
		var said struct{ Logger, Msg, ID string }
		if json.Unmarshal([]byte(line), &said) != nil || !strings.Contains(said.Logger, "entry-reconciler") {
			continue
		}
		switch said.Msg {
		case "Reconciliation finished":
			l.passes++
		case "Deleted entry":
			l.deleted[said.ID]++
		}
	}
	return l
}

// clusterSPIFFEID makes spire-controller-manager register the pods of an app.
func clusterSPIFFEID(t *testing.T, namespace, app string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), "delete", "clusterspiffeid", namespace, "--ignore-not-found"); err != nil {
			t.Error(err)
		}
	})
	apply(t, map[string]any{
		"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
		"metadata": map[string]any{"name": namespace},
		"spec": map[string]any{
			"spiffeIDTemplate":  "spiffe://{{ .TrustDomain }}" + managersPath(namespace) + "{{ .PodMeta.Name }}",
			"namespaceSelector": map[string]any{"matchLabels": map[string]string{"kubernetes.io/metadata.name": namespace}},
			"podSelector":       map[string]any{"matchLabels": map[string]string{"app": app}},
		},
	})
}

// managersPath begins the paths of the identities that spire-controller-manager gives.
func managersPath(namespace string) string { return "/controller-manager/" + namespace + "/" }
