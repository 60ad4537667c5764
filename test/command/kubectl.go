package command

import (
	"context"
	"encoding/json"
	"errors"
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
	// Most of kubectl's runs are for an instant: collecting garbage is a quarter of their work.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig, "GOGC=off", "GOMEMLIMIT=512MiB")
	return cmd
}

// ErrNeedsProcess is what a [Runner] returns for a command that it does not have. Nothing has run.
var ErrNeedsProcess = errors.New("the command needs a process of its own")

// Runner runs one command of kubectl otherwise than as a process of its own. It returns what that printed on both
// outputs; the error says how it ended, or is [ErrNeedsProcess].
type Runner func(ctx context.Context, kubeconfig, stdin string, args ...string) (stdout, stderr string, err error)

// runner is nil where each command is a process.
var runner Runner

// RunKubectlBy has r run the commands of every [Kubectl] of this process, but for those of [Kubectl.Command]. It is called
// before the first of them.
func RunKubectlBy(r Runner) { runner = r }

// Run returns what kubectl printed on its standard output; the error is an [Error].
func (k Kubectl) Run(ctx context.Context, args ...string) (string, error) {
	return k.With(ctx, "", args...)
}

// With is Run with a standard input.
func (k Kubectl) With(ctx context.Context, stdin string, args ...string) (string, error) {
	if runner == nil {
		return run("kubectl", k.Command(ctx, args...), stdin)
	}
	stdout, stderr, err := runner(ctx, k.kubeconfig, stdin, args...)
	if errors.Is(err, ErrNeedsProcess) {
		return run("kubectl", k.Command(ctx, args...), stdin)
	}
	if err != nil {
		return stdout, &Error{Program: "kubectl", Args: args, Stderr: stderr, err: err}
	}
	return stdout, nil
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
