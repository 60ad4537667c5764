package play

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

// Down removes a demo and its platform from the cluster that the demo would use. It starts none for that.
func Down(ctx context.Context, d Demo, out, progress io.Writer) error {
	s, name, up, err := cluster(ctx, out)
	if err != nil || !up {
		return err
	}
	on, err := standingOn(ctx, s)
	if err != nil {
		return err
	}
	if on.demo != "" && on.demo != d.Name {
		d.Platform = "" // not this demo's
	}
	for _, part := range []struct {
		what   string
		skip   bool
		remove func(context.Context, scene.Scene) (bool, error)
	}{
		{"the demo's workloads, in " + namespaces(d), false, d.removeWorkloads},
		{"SPIRE and the injector, of " + d.Platform, d.Platform == "", d.removePlatform},
	} {
		if part.skip {
			if _, err := fmt.Fprintf(out, "SPIRE and the injector are those of the demo %s. To remove them: make demo-%s-down\n", on.demo, on.demo); err != nil {
				return err
			}
			continue
		}
		done := story.Waiting(progress, story.Patience, "removing "+part.what)
		removed, err := part.remove(ctx, s)
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

// Playing is the demo among several that is on the cluster that a demo would use; ok is false if none is.
func Playing(ctx context.Context, demos []Demo) (d Demo, ok bool, err error) {
	s, _, up, err := cluster(ctx, io.Discard)
	if err != nil || !up {
		return Demo{}, false, err
	}
	on, err := standingOn(ctx, s)
	for _, d := range demos {
		if d.Name == on.demo {
			return d, true, err
		}
	}
	return Demo{}, false, err
}

// cluster is the scene on the cluster that a demo would use, and its name if it is one of this machine's. One that is
// not up is told on out.
func cluster(ctx context.Context, out io.Writer) (s scene.Scene, name string, up bool, err error) {
	env, name, err := running(ctx)
	var notUp local.NotUpError
	if errors.As(err, &notUp) {
		_, err := fmt.Fprintf(out, "The cluster %q is not up: there is nothing to remove.\n", notUp.Name)
		return s, name, false, err
	}
	if err != nil {
		return s, name, false, err
	}
	root, err := parts.Root()
	return scene.New(env, root), name, err == nil, err
}

// running is the cluster that a demo would use, which has to be up, and its name if it is one of this machine's.
func running(ctx context.Context) (env environment.Environment, name string, err error) {
	cache, err := parts.UserCache()
	if err != nil {
		return env, "", err
	}
	name = environment.LocalName()
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
