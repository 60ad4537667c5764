package command

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Kubectl is kubectl for one cluster.
type Kubectl struct {
	path       string
	kubeconfig string
}

// NewKubectl returns the kubectl of a path.
func NewKubectl(path, kubeconfig string) Kubectl { return Kubectl{path: path, kubeconfig: kubeconfig} }

// Command is a kubectl that has not run yet.
func (k Kubectl) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.path, args...)
	// A test run calls kubectl thousands of times, each time for an instant: collecting garbage is a quarter of its work.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig, "GOGC=off", "GOMEMLIMIT=512MiB")
	return cmd
}

// Run returns what kubectl printed on its standard output; the error is an [Error].
func (k Kubectl) Run(ctx context.Context, args ...string) (string, error) {
	return k.With(ctx, "", args...)
}

// With is Run with a standard input.
func (k Kubectl) With(ctx context.Context, stdin string, args ...string) (string, error) {
	return run("kubectl", k.Command(ctx, args...), stdin)
}

// Get decodes one object, or a list of them.
func (k Kubectl) Get(ctx context.Context, into any, args ...string) error {
	out, err := k.Run(ctx, append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("decoding what kubectl get %s printed: %w", strings.Join(args, " "), err)
	}
	return nil
}
