package play

import (
	"context"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// removeWorkloads removes everything of a demo but its platform; removed is whether there was anything.
func (d Demo) removeWorkloads(ctx context.Context, s scene.Scene) (removed bool, err error) {
	// First the pods: a namespace that still has some is looked at again only after half of their grace period.
	for _, namespace := range d.Namespaces {
		const kinds = "deployments,statefulsets,daemonsets,jobs,cronjobs"
		gone, err := deleted(ctx, s, "-n", namespace, "delete", kinds, "--all", "--cascade=foreground")
		if err != nil {
			return removed, err
		}
		removed = removed || gone
	}
	for _, kustomization := range slices.Backward(d.Workloads) {
		gone, err := deleted(ctx, s, "delete", "-k", s.Path(kustomization))
		if err != nil {
			return removed, err
		}
		removed = removed || gone
	}
	if len(d.Namespaces) > 0 {
		gone, err := deleted(ctx, s, append([]string{"delete", "namespace"}, d.Namespaces...)...)
		if err != nil {
			return removed, err
		}
		removed = removed || gone
	}
	if d.Clear != nil {
		err = d.Clear(ctx, s)
	}
	return removed, err
}

// removePlatform removes SPIRE, with its data, and the injector; removed is whether there was anything.
func (d Demo) removePlatform(ctx context.Context, s scene.Scene) (removed bool, err error) {
	return deleted(ctx, s, "delete", "-k", s.Path(d.Platform))
}

// deleted runs a kubectl delete, of what need not be there, and waits for it.
func deleted(ctx context.Context, s scene.Scene, args ...string) (bool, error) {
	r, err := s.Run(ctx, scene.Command{Args: append(slices.Clip(args), "--ignore-not-found", "--timeout=180s")})
	return strings.Contains(r.Stdout, "deleted"), err
}
