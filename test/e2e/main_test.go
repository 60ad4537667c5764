// Package e2e tests the injector on a real cluster: real API server and kubelet, real SPIRE, real Envoy. Without
// KUBECONFIG it starts a cluster on this machine. Tests run side by side, each in a namespace of its own. Those that
// disturb SPIRE, the injector or the API server are named TestDisruptive…: they do not call t.Parallel, so they run
// one after the other and before the others.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/command/kubectl"
	"github.com/spire-injector/spire-injector/test/install"
)

// shared is what all tests use. TestMain fills it once, before any test.
var shared struct {
	env  environment.Environment
	k    command.Kubectl
	root string // the project's top folder
}

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	command.RunKubectlBy(kubectl.Run)
	start := time.Now()
	if err := setUp(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "setting up the cluster:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "cluster and platform are ready after %.0f s\n", time.Since(start).Seconds())
	os.Exit(m.Run())
}

func setUp(ctx context.Context) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	env, err := environment.Prepare(ctx, os.Stderr)
	if err != nil {
		return err
	}
	shared.env, shared.k, shared.root = env, env.Client(), root
	return install.Platform(ctx, env, platform(), os.Stderr)
}

// manifests is the path of a folder below manifests.
func manifests(folder string) string {
	return filepath.Join(shared.root, "manifests", filepath.FromSlash(folder))
}

// platform is the path of what is installed for the tests.
func platform() string { return filepath.Join(shared.root, "test", "e2e", "platform") }
