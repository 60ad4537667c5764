package e2e

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/spire-injector/spire-injector/test/install"
)

// release installs an injector of a test's own, from an overlay, and a namespace that it serves.
func release(t *testing.T, overlay string) (injector, served string) {
	t.Helper()
	served = namespace(t)
	return releaseFor(t, served, overlay), served
}

// releaseFor installs an injector of a test's own, with further arguments, for a namespace of the test.
func releaseFor(t *testing.T, served, overlay string, args ...string) (injector string) {
	t.Helper()
	return releaseOf(t, served, install.Release{Overlay: manifests(overlay), Args: args})
}

// releaseOf installs a release under a name of its own, for a namespace of the test.
func releaseOf(t *testing.T, served string, r install.Release) (injector string) {
	t.Helper()
	r.Name = "release-" + rand.String(5)
	_, err := shared.k.Run(t.Context(), "label", "namespace", served, install.ReleaseLabel+"="+r.Name)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			tell(ctx, t, r.Name, "logs", "--selector", "app.kubernetes.io/name=spire-injector", "--prefix", "--tail=20")
		}
		if err := r.Uninstall(ctx, shared.env); err != nil {
			t.Error(err)
		}
	})
	must(t, r.Install(t.Context(), shared.env, served, progress{t}))
	return r.Name
}

// upgrade changes the injector of a test's own to another overlay, and waits until the old replicas are gone.
func upgrade(t *testing.T, injector, served, overlay string) {
	t.Helper()
	before := podNames(t, injector, "")
	must(t, install.Release{Name: injector, Overlay: manifests(overlay)}.Install(t.Context(), shared.env, served, progress{t}))
	awaitPodsGone(t, injector, before)
}
