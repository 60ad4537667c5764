package systems

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/charts"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/api"
	"github.com/spire-injector/spire-injector/test/images"
	"github.com/spire-injector/spire-injector/test/install"
)

// TestChartsWithPostgreSQLAndCSI installs the charts with what the demo of them has not: two SPIRE servers on a real
// PostgreSQL, and the SPIFFE CSI driver. Injected pods have their SVIDs by it, either server knows them, and
// uninstalling leaves nothing behind.
func TestChartsWithPostgreSQLAndCSI(t *testing.T) {
	before := settled(t)
	release := startRelease(t)
	release.install(t, "spire", charts.SPIREChart, `
server: {replicas: 2}
database: {type: postgres}
csi: {enabled: true}
`)
	must(t, install.InjectorEntries(t.Context(), shared.k))
	release.install(t, "spire-injector", charts.InjectorChart, `
platform:
  spire: {agentSocket: {hostPath: null, csi: csi.spiffe.io}}
  identity: {claims: [{namespaces: [demo], serviceAccounts: ["*"], paths: [/api, /valid-api-client, /invalid-api-client]}]}
`)
	must(t, install.AwaitWebhook(t.Context(), shared.k))
	start := time.Now()
	must(t, install.Apply(t.Context(), shared.env, filepath.Join(shared.root, api.Workloads)))
	eventually(t, "the valid client's first answer", func() error {
		out, err := shared.k.Run(t.Context(), api.CallCommand(api.Valid).Args...)
		if err == nil && strings.TrimSpace(out) != "ok" {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
	t.Logf("the valid client was answered %.1f s after kubectl apply", time.Since(start).Seconds())
	if out, err := shared.k.Run(t.Context(), api.CallCommand(api.Invalid).Args...); err == nil {
		t.Errorf("the invalid client got %q", out)
	}

	var pods corev1.PodList
	must(t, shared.k.Get(t.Context(), &pods, "--namespace", api.Namespace, "pods"))
	for _, pod := range pods.Items {
		if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.CSI != nil && v.CSI.Driver == "csi.spiffe.io" }) {
			t.Errorf("pod %s has no volume of csi.spiffe.io", pod.Name)
		}
	}
	for _, server := range []string{"spire-server-0", "spire-server-1"} {
		out, err := shared.k.Run(t.Context(), "--namespace", "spire", "exec", server, "--", "/opt/spire/bin/spire-server", "entry", "show",
			"-socketPath", "/run/spire/private/api.sock", "-spiffeID", api.ID(api.API))
		if err != nil || !strings.Contains(out, "Found 1 entry") {
			t.Errorf("%s: expected one entry of the API, got %q, %v", server, out, err)
		}
	}

	start = time.Now()
	release.uninstall(t)
	t.Logf("removed in %.1f s", time.Since(start).Seconds())
	settled(t)
	if diff := cmp.Diff(before, objects(t)); diff != "" {
		t.Errorf("the cluster is not as it was before (-before +after):\n%s", diff)
	}
}

// release is what Helm installs, and what it needs.
type release struct {
	helm       command.Helm
	images     map[string]string
	installed  []string                    // releases, each in the namespace of its name
	postgreSQL func(context.Context) error // removes it, if it is there
	removed    bool
}

// startRelease makes the namespaces, PostgreSQL with the Secret by which SPIRE finds it, and the driver's images.
func startRelease(t *testing.T) *release {
	t.Helper()
	cache, err := parts.UserCache()
	must(t, err)
	program, err := parts.EnsureHelm(t.Context(), cache, t.Output())
	must(t, err)
	r := &release{helm: command.NewHelm(program, shared.env.Kubeconfig)}
	t.Cleanup(func() { r.uninstall(t) })
	for _, namespace := range []string{"spire", "spire-injector"} {
		_, err := shared.k.Run(t.Context(), "create", "namespace", namespace)
		must(t, err)
	}
	r.postgreSQL, err = install.PostgreSQL(t.Context(), shared.env, t.Output())
	must(t, err)
	archives, err := images.ForCSI(t.Context(), cache, t.Output())
	must(t, err)
	env, err := shared.env.With(t.Context(), archives, t.Output())
	must(t, err)
	r.images = env.Images
	return r
}

// install has Helm install a chart, and wait until it is ready.
func (r *release) install(t *testing.T, name, chart, values string) {
	t.Helper()
	start := time.Now()
	args := []string{"install", name, filepath.Join(shared.root, chart), "--namespace", name, "--values", "-", "--wait", "--timeout", "3m"}
	r.installed = append(r.installed, name)
	_, err := r.helm.With(t.Context(), values, append(args, charts.ImageArgs(chart, r.images)...)...)
	must(t, err)
	t.Logf("chart %s is ready after %.1f s", name, time.Since(start).Seconds())
}

// uninstall removes everything: workloads first, without the time in which they would serve on, and the driver last:
// without it no volume of its can be taken from a pod.
func (r *release) uninstall(t *testing.T) {
	t.Helper()
	if r.removed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	defer cancel()
	run := func(args ...string) error {
		_, err := shared.k.Run(ctx, args...)
		return err
	}
	errs := []error{
		run("--namespace", api.Namespace, "delete", "deployments,replicasets", "--all", "--cascade=orphan"),
		run("--namespace", api.Namespace, "delete", "pods", "--all", "--grace-period=1", "--timeout=180s"),
	}
	database := make(chan error, 1)
	go func() {
		if r.postgreSQL == nil {
			database <- nil
			return
		}
		database <- r.postgreSQL(ctx)
	}()
	for _, name := range slices.Backward(r.installed) {
		_, err := r.helm.Run(ctx, "uninstall", name, "--namespace", name, "--ignore-not-found")
		// Only pods have to be gone before what they need may go; a StatefulSet in deletion can outlive them by minutes.
		errs = append(errs, err, run("--namespace", name, "wait", "--for=delete", "pods", "--all", "--timeout=180s"))
	}
	errs = append(errs, run("delete", "namespace", "spire", "spire-injector", api.Namespace, "--ignore-not-found", "--timeout=180s"), <-database)
	must(t, errors.Join(errs...))
	r.removed = true
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
