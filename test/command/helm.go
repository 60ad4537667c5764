package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
)

// Helm is Helm for one cluster, or for none.
type Helm struct {
	path       string
	kubeconfig string // empty: it reaches no cluster
}

// NewHelm returns the Helm of a path. Without a kubeconfig it can do only what needs no cluster.
func NewHelm(path, kubeconfig string) Helm { return Helm{path: path, kubeconfig: kubeconfig} }

// Run returns what Helm printed on its standard output; the error is an [Error].
func (h Helm) Run(ctx context.Context, args ...string) (string, error) {
	return h.With(ctx, "", args...)
}

// With is Run with a standard input, which --values - reads.
func (h Helm) With(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.path, args...)
	kubeconfig := h.kubeconfig
	if kubeconfig == "" {
		kubeconfig = os.DevNull
	}
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	out, err := run("helm", cmd, stdin)
	var failed *Error
	if errors.As(err, &failed) {
		failed.Stderr = withoutLinkRemarks(failed.Stderr)
	}
	return out, err
}

// withoutLinkRemarks drops Helm's remarks on symbolic links in a chart.
func withoutLinkRemarks(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "found symbolic link in path") {
			b.WriteString(line)
		}
	}
	return b.String()
}
