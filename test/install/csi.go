package install

import (
	"context"
	"io"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

// CSI puts SPIRE with the SPIFFE CSI driver on a cluster, from a kustomization.
func CSI(ctx context.Context, env environment.Environment, kustomization string, progress io.Writer) error {
	cache, err := parts.UserCache()
	if err != nil {
		return err
	}
	archives, err := images.ForCSI(ctx, cache, progress)
	if err != nil {
		return err
	}
	if env, err = env.With(ctx, archives, progress); err != nil {
		return err
	}
	return run(progress, []step{
		{"applying " + kustomization, func() error { return Apply(ctx, env, kustomization) }},
		{"waiting for the CSI driver", rollout(ctx, env.Client(), "spire", "daemonset/spiffe-csi-driver")},
	})
}
