// Package systems plays every demo of the table on a real cluster, one after the other, and sees that each holds what
// it tells and leaves nothing behind. Without KUBECONFIG and CLUSTER it starts a cluster of its own on this machine, and
// ends it when all is well: the end-to-end tests run at the same time.
package systems

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/command/kubectl"
	"github.com/spire-injector/spire-injector/test/demo/demos"
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// ownCluster is the name of the cluster that is started without KUBECONFIG and CLUSTER.
const ownCluster = "demos"

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
	own := os.Getenv(environment.KubeconfigVariable) == "" && os.Getenv(environment.ClusterVariable) == ""
	if err := setUp(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "setting up the cluster:", err)
		os.Exit(1)
	}
	code := m.Run()
	if own && code == 0 {
		if err := local.Down(ctx, local.Options{Name: ownCluster, Progress: os.Stderr}); err != nil {
			fmt.Fprintln(os.Stderr, "ending the cluster:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// setUp provides the cluster without SPIRE, the injector, and any demo: other tests and people leave those.
func setUp(ctx context.Context) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	name := os.Getenv(environment.ClusterVariable)
	if name == "" {
		name = ownCluster
	}
	env, err := environment.PrepareNamed(ctx, name, os.Stderr)
	if err != nil {
		return err
	}
	// Whatever a demo starts looks for its cluster there.
	if err := os.Setenv(environment.KubeconfigVariable, env.Kubeconfig); err != nil {
		return err
	}
	shared.env, shared.k, shared.root = env, env.Client(), root
	if empty, err := isEmpty(ctx); empty || err != nil {
		return err
	}
	for _, d := range demos.All() {
		if err := play.Down(ctx, d, io.Discard, os.Stderr); err != nil {
			return fmt.Errorf("taking down %s: %w", d.Name, err)
		}
	}
	_, err = shared.k.Run(ctx, "delete", "-k", filepath.Join(root, "test", "e2e", "platform"), "--ignore-not-found", "--timeout=180s")
	return err
}

// isEmpty says whether the cluster has no namespaces but Kubernetes' own: all that demos and tests leave has some.
func isEmpty(ctx context.Context) (bool, error) {
	var namespaces corev1.NamespaceList
	err := shared.k.Get(ctx, &namespaces, "namespaces")
	return !slices.ContainsFunc(namespaces.Items, func(n corev1.Namespace) bool {
		return n.Name != metav1.NamespaceDefault && !strings.HasPrefix(n.Name, "kube-")
	}), err
}

// TestDemos plays the demos in turn. A subtest can be run alone: each finds the cluster as it was.
func TestDemos(t *testing.T) {
	for _, d := range demos.All() {
		t.Run(d.Name, func(t *testing.T) {
			before := settled(t)
			var told, progress bytes.Buffer
			sum, err := play.Play(t.Context(), d, demos.All(), story.New(&told, story.Options{Steps: len(d.Steps)}), &progress)
			t.Logf("%.1f s, of which the platform %.1f s", sum.Seconds, sum.PlatformSeconds)
			if err != nil {
				t.Errorf("%v\n%s\n%s", err, &progress, &told)
			}
			played := map[string]bool{}
			for _, step := range sum.Steps {
				played[step.Name] = step.OK
			}
			for _, step := range d.Steps {
				if !played[step.Name] {
					t.Errorf("step %s: expected it to succeed", step.Name)
				}
			}
			start := time.Now()
			if err := play.Down(t.Context(), d, io.Discard, &progress); err != nil {
				t.Fatalf("taking it down: %v\n%s", err, &progress)
			}
			t.Logf("taken down in %.1f s", time.Since(start).Seconds())
			eventually(t, "the cluster is as it was before", func() error {
				if diff := cmp.Diff(before, objects(t)); diff != "" {
					return fmt.Errorf("-before +after:\n%s", diff)
				}
				return nil
			})
		})
	}
}
