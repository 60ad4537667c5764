package command

import (
	"context"
	"os"
	"os/exec"
)

// Injector is the project's own program, on one cluster.
type Injector struct{ path, kubeconfig string }

// NewInjector returns the program of a path.
func NewInjector(path, kubeconfig string) Injector {
	return Injector{path: path, kubeconfig: kubeconfig}
}

// Run returns what it printed on its standard output; the error is an [Error].
func (i Injector) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, i.path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+i.kubeconfig)
	return run("spire-injector", cmd, "")
}
