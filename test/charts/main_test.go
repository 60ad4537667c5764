package charts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
)

// tools are built when the cache lacks them.
var tools struct {
	root    string
	helm    command.Helm
	kubectl command.Kubectl
}

func TestMain(m *testing.M) {
	if err := findTools(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func findTools(ctx context.Context) error {
	cache, err := parts.UserCache()
	if err != nil {
		return err
	}
	if tools.root, err = parts.Root(); err != nil {
		return err
	}
	program, err := parts.EnsureHelm(ctx, cache, os.Stderr)
	if err != nil {
		return err
	}
	tools.helm = command.NewHelm(program, "")
	path, err := exec.LookPath("kubectl")
	if err != nil {
		programs, err := parts.Ensure(ctx, cache, parts.ForCluster, os.Stderr)
		if err != nil {
			return err
		}
		path = programs.Kubectl()
	}
	tools.kubectl = command.NewKubectl(path, os.DevNull)
	return nil
}

func fromTop(path string) string { return filepath.Join(tools.root, filepath.FromSlash(path)) }

// render is what a chart makes of values, in YAML, in a namespace.
func render(ctx context.Context, chart, namespace, values string, args ...string) (string, error) {
	args = append([]string{"template", filepath.Base(chart), fromTop(chart), "--namespace", namespace, "--values", "-"}, args...)
	return tools.helm.With(ctx, values+"\n", args...)
}
