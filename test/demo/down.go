package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// down removes the demo and the platform from the cluster that the demo would use. It starts none for that.
func down(ctx context.Context, out, progress io.Writer) error {
	env, name, err := standing(ctx)
	var notUp local.NotUpError
	if errors.As(err, &notUp) {
		_, err := fmt.Fprintf(out, "The cluster %q is not up: there is nothing to remove.\n", notUp.Name)
		return err
	}
	if err != nil {
		return err
	}
	root, err := parts.Root()
	if err != nil {
		return err
	}
	s := scene.New(env, root)
	for _, part := range []struct {
		what   string
		remove func(context.Context) (bool, error)
	}{
		{"the demo's namespace " + scene.Namespace, s.Clear},
		{"SPIRE and the injector, of " + scene.Platform, s.RemovePlatform},
	} {
		done := story.Waiting(progress, story.Patience, "removing "+part.what)
		removed, err := part.remove(ctx)
		done()
		if err != nil {
			return fmt.Errorf("removing %s: %w", part.what, err)
		}
		outcome := "was not there"
		if removed {
			outcome = "removed"
		}
		if _, err := fmt.Fprintf(out, "%s: %s\n", part.what, outcome); err != nil {
			return err
		}
	}
	last := "What stays is the directory /run/spire/sockets on the nodes."
	switch name {
	case "":
	case local.DefaultName:
		last = "The cluster still runs. To end it: make cluster-down"
	default:
		last = "The cluster still runs. To end it: go run ./test/cluster down --name " + name
	}
	_, err = fmt.Fprintln(out, last)
	return err
}

// standing is the cluster that the demo would use, which has to be up, and its name if it is one of this machine's.
func standing(ctx context.Context) (env environment.Environment, name string, err error) {
	cache, err := parts.UserCache()
	if err != nil {
		return env, "", err
	}
	name = local.DefaultName
	if kubeconfig := os.Getenv(environment.KubeconfigVariable); kubeconfig != "" {
		own := false
		if name, own = local.NameOf(cache, kubeconfig); !own {
			kubectl, err := exec.LookPath("kubectl")
			return environment.Environment{Kubeconfig: kubeconfig, Kubectl: kubectl}, "", err
		}
	}
	state, err := local.Inspect(ctx, local.Options{Name: name, Cache: cache})
	if err == nil && !(state.Running && state.Ready) {
		err = local.NotUpError{Name: name}
	}
	return environment.Environment{Kubeconfig: state.Kubeconfig, Kubectl: state.Kubectl}, name, err
}
