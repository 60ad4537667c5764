// Package helm runs Helm as a user would.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Helm is Helm for one cluster, or for none.
type Helm struct {
	path       string
	kubeconfig string // empty: it reaches no cluster
}

// New returns the Helm of a path. Without a kubeconfig it can do only what needs no cluster.
func New(path, kubeconfig string) Helm { return Helm{path: path, kubeconfig: kubeconfig} }

// Error is a Helm that failed.
type Error struct {
	Args   []string
	Stderr string
	err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("helm %s: %v: %s", strings.Join(e.Args, " "), e.err, strings.TrimSpace(e.Stderr))
}

func (e *Error) Unwrap() error { return e.err }

// Run returns what Helm printed on its standard output; the error is an [Error].
func (h Helm) Run(ctx context.Context, args ...string) (string, error) {
	return h.With(ctx, "", args...)
}

// With is Run with a standard input, which --values - reads.
func (h Helm) With(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.kubeconfig)
	if h.kubeconfig == "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+os.DevNull)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), &Error{Args: args, Stderr: told(stderr.String()), err: err}
	}
	return stdout.String(), nil
}

// told is what Helm said without its remarks on links in a chart.
func told(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "found symbolic link in path") {
			b.WriteString(line)
		}
	}
	return b.String()
}
