// Package scene is what happens on the cluster in the demo, and what has to come of it. It tells nothing: it returns facts,
// or an error that is a [Mismatch] where the cluster did not do what the story claims.
package scene

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/kubectl"
)

// The demo's names, as its manifests have them.
const (
	Namespace = "demo"
	Workloads = "manifests/demo/api/workloads"
	Platform  = "manifests/demo/api/platform"

	API     = "api"
	Valid   = "valid-api-client"
	Invalid = "invalid-api-client"

	// URL is where a client's app finds the API: its own Envoy.
	URL = "http://127.0.0.1:8000/api"

	trustDomain     = "example.org"
	sidecar         = "envoy"
	clientContainer = "client"
	apiContainer    = "api"
)

// ID is the SPIFFE ID of one of the demo's workloads.
func ID(workload string) string { return "spiffe://" + trustDomain + "/" + workload }

// Scene is the cluster on which the demo plays.
type Scene struct {
	env  environment.Environment
	root string
	k    kubectl.Kubectl
}

// New returns the scene on a cluster. root is the project's top folder, which holds the manifests.
func New(env environment.Environment, root string) Scene {
	return Scene{env: env, root: root, k: kubectl.For(env)}
}

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

// try runs a command whose failure is a result like any other.
func (s Scene) try(ctx context.Context, c Command) (Ran, error) {
	r := Ran{Command: c, Start: time.Now()}
	var err error
	r.Stdout, err = s.k.Run(ctx, c.Args...)
	r.End = time.Now()
	var failed *kubectl.Error
	if errors.As(err, &failed) && ctx.Err() == nil {
		r.Stderr, r.Failed = failed.Stderr, true
		return r, nil
	}
	return r, errors.Join(err, context.Cause(ctx))
}

// run runs a command that has to succeed.
func (s Scene) run(ctx context.Context, c Command) (Ran, error) {
	r, err := s.try(ctx, c)
	if err == nil && r.Failed {
		err = &Mismatch{What: c.String(), Expected: "success", Got: r.Output()}
	}
	return r, err
}

// pollEvery is the time between two looks at the cluster.
const pollEvery = 200 * time.Millisecond

// poll looks again and again until look has found it, fails, or the time is over; found is false then.
func poll(ctx context.Context, limit time.Duration, look func() (found bool, err error)) (found bool, err error) {
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
