package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/install"
)

// The app must find mTLS when it starts. Each of these identities is new to SPIRE, and the pods come at different
// moments of its intervals: some wait for the whole of them.
func TestAppStartsAfterMTLS(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	const pods = 6
	var wg sync.WaitGroup
	for i := range pods {
		name := fmt.Sprintf("api-%d", i)
		w := api(ns, id(ns, "valid"))
		w.name = name
		w.annotations["spiffe.io/spiffe-id"] = id(ns, name)
		w.annotations["spiffe.io/proxy-log-level"] = "info"
		apply(t, w.pod(ns))
		wg.Go(func() {
			if _, err := shared.k.Run(t.Context(), "--namespace", ns, "wait", "--for=condition=Ready", "pod/"+name, "--timeout", patience.String()); err != nil {
				t.Error(err)
				return
			}
			serves, app := servesSince(t, ns, name), appSince(t, ns, name)
			t.Logf("%s: the app started %s after its Envoy served", name, app.Sub(serves))
			if !app.After(serves) {
				t.Errorf("%s: the app started at %s, its Envoy served only at %s", name, app, serves)
			}
		})
		time.Sleep(370 * time.Millisecond) // not a divisor of SPIRE's intervals
	}
	wg.Wait()
}

// A pod whose entry is not there yet waits, for as long as it takes, and starts when the entry comes. This pod was
// injected by the offline command, and what SPIRE is told is what that command prints.
func TestAppWaitsForLateEntry(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	w := api(ns, id(ns, "valid"))
	w.annotations["spiffe.io/proxy-log-level"] = "info"
	injected := offline(t, manifest(t, w.pod(ns)))
	// The webhook is not asked about namespaces of another release, so that nobody registers the pod.
	_, err := shared.k.Run(t.Context(), "label", "namespace", ns, "injector.spiffe.io/release=nobody")
	must(t, err)
	time.Sleep(time.Second) // the API server matches namespaces as its cache has them
	_, err = shared.k.With(t.Context(), injected, "apply", "-f", "-")
	must(t, err)

	time.Sleep(12 * time.Second) // longer than SPIRE's default intervals together
	pod := apiPod(t, ns)
	if state := pod.Status.ContainerStatuses[0].State; state.Waiting == nil {
		t.Errorf("expected the app to wait for its identity, it is %+v", state)
	}
	if got := entries(t, id(ns, "api")); len(got) != 0 {
		t.Fatalf("expected no entry yet, got %+v", got)
	}
	registered := time.Now()
	entriesJSON := offline(t, manifest(t, w.pod(ns)), "--entries")
	_, err = shared.k.With(t.Context(), entriesJSON, "--namespace", "spire", "exec", "-i", "spire-server-0", "--",
		"/opt/spire/bin/spire-server", "entry", "create", "-data", "-", "-socketPath", "/run/spire/private/api.sock")
	if err != nil && !strings.Contains(err.Error(), "similar entry already exists") { // the node alias, which is there
		t.Fatal(err)
	}
	_, err = shared.k.Run(t.Context(), "--namespace", ns, "wait", "--for=condition=Ready", "pod/api", "--timeout", patience.String())
	must(t, err)
	serves, app := servesSince(t, ns, "api"), appSince(t, ns, "api")
	t.Logf("registered after 12 s; Envoy served %s later, the app started %s after that", serves.Sub(registered), app.Sub(serves))
	if !app.After(serves) || !serves.After(registered) {
		t.Errorf("expected registered, served, started; got %s, %s, %s", registered, serves, app)
	}
}

// servesSince is when a pod's Envoy began to serve.
func servesSince(t *testing.T, namespace, pod string) time.Time {
	t.Helper()
	out, err := shared.k.Run(t.Context(), "--namespace", namespace, "logs", pod, "--container", "envoy", "--timestamps")
	if err != nil {
		t.Error(err)
	}
	return stamp(t, out, "starting workers")
}

// appSince is when a pod's app began to run, by its own account.
func appSince(t *testing.T, namespace, pod string) time.Time {
	t.Helper()
	out, err := shared.k.Run(t.Context(), "--namespace", namespace, "logs", pod, "--container", "app", "--timestamps")
	if err != nil {
		t.Error(err)
	}
	return stamp(t, out, "starting")
}

// stamp is the container runtime's timestamp of the first line with some text.
func stamp(t *testing.T, log, text string) time.Time {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			at, err := time.Parse(time.RFC3339Nano, strings.Fields(line)[0])
			if err != nil {
				t.Error(err)
			}
			return at
		}
	}
	t.Errorf("no line with %q in\n%s", text, log)
	return time.Time{}
}

// offline runs `spire-injector inject` on manifests with the demo's platform file.
func offline(t *testing.T, manifests string, flags ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), injectorBinary(t), append([]string{"inject", "-f", "-", "--config",
		filepath.Join(shared.root, "manifests/demo/api/platform/config.yaml")}, flags...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(manifests), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return install.WithImages(shared.env, string(out))
}

var injector struct {
	once sync.Once
	path string
	err  error
}

// injectorBinary builds the command, once.
func injectorBinary(t *testing.T) string {
	t.Helper()
	injector.once.Do(func() {
		var dir string
		if dir, injector.err = os.MkdirTemp("", "spire-injector"); injector.err != nil {
			return
		}
		injector.path = filepath.Join(dir, "spire-injector")
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", injector.path, "./cmd/spire-injector")
		cmd.Dir = shared.root
		if out, err := cmd.CombinedOutput(); err != nil {
			injector.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	must(t, injector.err)
	return injector.path
}
