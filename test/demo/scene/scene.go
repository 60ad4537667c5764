// Package scene is what the demos' facts come from: commands that run on the cluster as they are shown, waiting, and
// reading what comes. It tells nothing: it returns facts, or an error that is a [Mismatch] where the cluster did not do
// what a story claims.
package scene

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/command"
)

// Sidecar is the container that the injector adds.
const Sidecar = "envoy"

// Scene is the cluster on which a demo plays.
type Scene struct {
	Env  environment.Environment
	Root string // the project's top folder, which holds the manifests
	K    command.Kubectl
}

// New returns the scene on a cluster.
func New(env environment.Environment, root string) Scene {
	return Scene{Env: env, Root: root, K: env.Client()}
}

// Path is the path of a file or folder that is given from the project's top folder, with slashes.
func (s Scene) Path(fromTop string) string { return filepath.Join(s.Root, filepath.FromSlash(fromTop)) }

// Ran is a command and what came of it.
type Ran struct {
	Command Command
	Stdout  string
	// Stderr is set only if the command failed.
	Stderr string
	// Failed is whether its exit code was not 0.
	Failed     bool
	Start, End time.Time
}

// Output is all that the command printed.
func (r Ran) Output() string {
	if r.Stdout != "" && !strings.HasSuffix(r.Stdout, "\n") {
		return r.Stdout + "\n" + r.Stderr
	}
	return r.Stdout + r.Stderr
}

// Try runs a command whose failure is a result like any other.
func (s Scene) Try(ctx context.Context, c Command) (Ran, error) {
	r := Ran{Command: c, Start: time.Now()}
	var err error
	r.Stdout, err = s.K.Run(ctx, c.Args...)
	r.End = time.Now()
	var failed *command.Error
	if errors.As(err, &failed) && ctx.Err() == nil {
		r.Stderr, r.Failed = failed.Stderr, true
		return r, nil
	}
	return r, errors.Join(err, context.Cause(ctx))
}

// Run runs a command that has to succeed.
func (s Scene) Run(ctx context.Context, c Command) (Ran, error) {
	r, err := s.Try(ctx, c)
	if err == nil && r.Failed {
		err = &Mismatch{What: c.String(), Expected: "success", Got: r.Output()}
	}
	return r, err
}

// Until is how long after the start of the command something was, in seconds.
func (r Ran) Until(t time.Time) float64 { return Seconds(t.Sub(r.Start)) }

// Seconds of d, to the hundredth: kubectl itself takes tens of milliseconds.
func Seconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond).Milliseconds()) / 1000
}

// pollEvery is the time between two looks at the cluster.
const pollEvery = 200 * time.Millisecond

// Poll looks again and again until look has found it, fails, or the time is over; found is false then.
func Poll(ctx context.Context, limit time.Duration, look func() (found bool, err error)) (found bool, err error) {
	deadline := time.Now().Add(limit)
	for {
		if found, err := look(); found || err != nil {
			return found, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
