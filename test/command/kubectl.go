// Package kubectl runs kubectl as a user would.
package kubectl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
)

// Kubectl is kubectl for one cluster.
type Kubectl struct {
	path       string
	kubeconfig string
}

// For returns the kubectl of an environment.
func For(env environment.Environment) Kubectl {
	return Kubectl{path: env.Kubectl, kubeconfig: env.Kubeconfig}
}

// Error is a kubectl that failed.
type Error struct {
	Args   []string
	Stderr string
	err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("kubectl %s: %v: %s", strings.Join(e.Args, " "), e.err, strings.TrimSpace(e.Stderr))
}

func (e *Error) Unwrap() error { return e.err }

// Command is a kubectl that has not run yet.
func (k Kubectl) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig)
	return cmd
}

// Run returns what kubectl printed on its standard output; the error is an [Error].
func (k Kubectl) Run(ctx context.Context, args ...string) (string, error) {
	return k.With(ctx, "", args...)
}

// With is Run with a standard input.
func (k Kubectl) With(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := k.Command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), &Error{Args: args, Stderr: stderr.String(), err: err}
	}
	return stdout.String(), nil
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
