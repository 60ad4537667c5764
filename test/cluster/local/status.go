package local

import (
	"context"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/cluster/supervisor"
	"github.com/spire-injector/spire-injector/test/images"
)

// State is what is known of a cluster.
type State struct {
	Info
	// Running is whether its first process runs.
	Running bool `json:"running"`
	// Ready is whether it was started to the end; a run that is still starting it, or was killed, leaves this false.
	Ready   bool              `json:"ready"`
	PID     int               `json:"pid,omitempty"`     // of its first process, on the machine
	Daemons supervisor.Status `json:"daemons,omitempty"` // and the further nodes
}

// Inspect looks at a cluster and changes nothing.
func Inspect(ctx context.Context, o Options) (State, error) {
	if err := o.complete(); err != nil {
		return State{}, err
	}
	c, err := open(o)
	if err != nil {
		return State{}, err
	}
	if c.programs.Kubernetes == "" {
		if c.programs, err = parts.Locate(ctx, c.cache); err != nil {
			return State{}, err
		}
	}
	if c, err = c.shaped(o); err != nil {
		return State{}, err
	}
	init, ok := loadProcess(c.process())
	if !ok || !init.runs() {
		return State{Info: Info{Name: c.cluster}}, nil
	}
	return State{Info: c.info(), Running: true, Ready: exists(c.complete()), PID: init.PID, Daemons: c.status()}, nil
}

// Load brings image archives into a cluster that is up; those that it has already are left out.
func Load(ctx context.Context, o Options, archives []images.Archive) error {
	if err := o.complete(); err != nil {
		return err
	}
	c, err := open(o)
	if err != nil {
		return err
	}
	if c.programs.Kubernetes == "" {
		if c.programs, err = parts.Ensure(ctx, c.cache, parts.ForCluster, c.progress); err != nil {
			return err
		}
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if c, err = c.shaped(o); err != nil {
		return err
	}
	init, ok := c.started()
	if !ok {
		return errNotUp(c.cluster)
	}
	return c.load(ctx, init, archives)
}
