package install

import (
	"context"
	_ "embed"
	"io"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

//go:embed certmanager.yaml
var certManager string

// CertManager puts cert-manager on a cluster, without its webhook, and returns how to remove it.
func CertManager(ctx context.Context, env environment.Environment, progress io.Writer) (remove func(context.Context) error, err error) {
	cache, err := parts.UserCache()
	if err != nil {
		return nil, err
	}
	archives, crds, err := images.ForCertManager(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	if env, err = env.With(ctx, archives, progress); err != nil {
		return nil, err
	}
	k := env.Client()
	remove = func(ctx context.Context) error {
		if _, err := k.Run(ctx, "delete", "--ignore-not-found", "--filename", crds); err != nil {
			return err
		}
		_, err := k.With(ctx, certManager, "delete", "--ignore-not-found", "-f", "-")
		return err
	}
	err = run(progress, []step{
		{"applying cert-manager's API", func() error {
			// On the server's side: a client's note of what it applied has no room for these.
			_, err := k.Run(ctx, "apply", "--server-side", "--filename", crds)
			if err != nil {
				return err
			}
			_, err = k.Run(ctx, "wait", "--for=condition=Established", "--filename", crds, "--timeout", timeout)
			return err
		}},
		{"applying cert-manager", func() error {
			objects, err := Decode(certManager)
			if err != nil {
				return err
			}
			return applyObjects(ctx, env, objects)
		}},
		{"waiting for cert-manager", rollout(ctx, k, "cert-manager", "deployment/cert-manager")},
	})
	return remove, err
}
