// Package install puts SPIRE and the injector on a cluster, in the steps that the README gives to people.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/command"
)

// timeout of each wait for pods: images are there already, only programs have to start.
const timeout = "180s"

// Platform installs SPIRE and the injector of a kustomization and waits until pods can be injected. It may be called
// again, and then changes what differs. Every step is told on progress.
func Platform(ctx context.Context, env environment.Environment, kustomization string, progress io.Writer) error {
	k := env.Client()
	return run(progress, []step{
		{"applying " + filepath.ToSlash(kustomization), func() error { return Apply(ctx, env, kustomization) }},
		{"waiting for the SPIRE server", rollout(ctx, k, "spire", "statefulset/spire-server")},
		{"waiting for the SPIRE agents", rollout(ctx, k, "spire", "daemonset/spire-agent")},
		{"giving the injector an identity of its own", func() error { return InjectorEntries(ctx, k) }},
		servingCertificate(ctx, env, "spire-injector", "spire-injector", progress),
		{"waiting for the injector", rollout(ctx, k, "spire-injector", "deployment/spire-injector")},
		{"trying the webhook", func() error { return AwaitWebhook(ctx, k) }},
	})
}

// step is one of a longer job, as it is told to people.
type step struct {
	what string
	do   func() error
}

func run(progress io.Writer, steps []step) error {
	for i, step := range steps {
		start := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(progress, "[%d/%d] %s … %.1f s\n", i+1, len(steps), step.what, time.Since(start).Seconds())
	}
	return nil
}

// Apply applies a kustomization with the environment's images.
func Apply(ctx context.Context, env environment.Environment, kustomization string) error {
	k := env.Client()
	manifests, err := k.Run(ctx, "kustomize", kustomization)
	if err != nil {
		return err
	}
	objects, err := Decode(manifests)
	if err != nil {
		return fmt.Errorf("%s: %w", kustomization, err)
	}
	return applyObjects(ctx, env, objects)
}

func applyObjects(ctx context.Context, env environment.Environment, objects []unstructured.Unstructured) error {
	manifests, err := withContents(env, objects)
	if err != nil {
		return err
	}
	_, err = env.Client().With(ctx, WithImages(env, manifests), "apply", "-f", "-")
	return err
}

// WithImages replaces the images' names by where the cluster finds them.
func WithImages(env environment.Environment, manifests string) string {
	var pairs []string
	for name, reference := range env.Images {
		pairs = append(pairs, name, reference)
	}
	return strings.NewReplacer(pairs...).Replace(manifests)
}

// rollout waits until all pods of a workload are ready. The error has the last lines of its logs, or if there are none
// the warnings of its namespace.
func rollout(ctx context.Context, k command.Kubectl, namespace, workload string) func() error {
	return func() error {
		_, err := k.Run(ctx, "--namespace", namespace, "rollout", "status", workload, "--timeout", timeout)
		if err == nil {
			return nil
		}
		said, none := k.Run(ctx, "--namespace", namespace, "logs", workload, "--all-containers", "--tail=2", "--pod-running-timeout=1s")
		if none != nil {
			columns := "custom-columns=:.involvedObject.name,:.message"
			said, none = k.Run(ctx, "--namespace", namespace, "get", "events", "--field-selector=type=Warning", "-o", columns)
		}
		return fmt.Errorf("%w\n%s", errors.Join(err, none), said)
	}
}

// InjectorEntries registers the injector itself, once: everything else it registers with the identity that this gives
// it.
func InjectorEntries(ctx context.Context, k command.Kubectl) error {
	out, err := Server(ctx, k, "entry", "create", "-data", "/etc/spire/injector-entries.json")
	return unlessThere(out, err)
}

// unlessThere forgives the SPIRE server that it has an entry already.
func unlessThere(out string, err error) error {
	var failed *command.Error
	if errors.As(err, &failed) && strings.Contains(out+failed.Stderr, "similar entry already exists") {
		return nil
	}
	return err
}

// Server runs the SPIRE server's command line in its pod.
func Server(ctx context.Context, k command.Kubectl, args ...string) (string, error) {
	return ServerOf(ctx, k, "spire", args...)
}
