package play

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// removeWorkloads removes everything of a demo but its platform; removed is whether there was anything.
func (d Demo) removeWorkloads(ctx context.Context, s scene.Scene) (removed bool, err error) {
	if removed, err = removePods(ctx, s, d.Namespaces); err != nil {
		return removed, err
	}
	var commands [][]string
	for _, kustomization := range slices.Backward(d.Workloads) {
		commands = append(commands, []string{"delete", "-k", s.Path(kustomization)})
	}
	if len(d.Namespaces) > 0 {
		// Namespaces take long to go, so they go side by side, and with whatever else is removed.
		begin := append([]string{"delete", "namespace", "--wait=false"}, d.Namespaces...)
		end := append([]string{"delete", "namespace"}, d.Namespaces...)
		commands = slices.Concat([][]string{begin}, commands, [][]string{end})
	}
	for _, command := range commands {
		gone, err := deleted(ctx, s, command...)
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

// removePods removes what makes pods, and waits for these. It makes the removal of their namespaces short: one that
// still has pods is looked at again only after half of their grace period.
func removePods(ctx context.Context, s scene.Scene, namespaces []string) (removed bool, err error) {
	const kinds = "deployments,statefulsets,daemonsets,jobs,cronjobs"
	var some atomic.Bool
	var all errgroup.Group
	for _, namespace := range namespaces {
		all.Go(func() error {
			gone, err := deleted(ctx, s, "-n", namespace, "delete", kinds, "--all", "--cascade=foreground")
			if gone {
				some.Store(true)
			}
			return err
		})
	}
	err = all.Wait()
	return some.Load(), err
}

// deleted runs a kubectl delete, of what need not be there, and waits for it.
func deleted(ctx context.Context, s scene.Scene, args ...string) (bool, error) {
	r, err := s.Run(ctx, scene.Command{Args: append(slices.Clip(args), "--ignore-not-found", "--timeout=180s")})
	return strings.Contains(r.Stdout, "deleted"), err
}
