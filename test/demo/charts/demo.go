// Package charts is the demo of the Helm charts: both are installed with real Helm, serve workloads, are upgraded,
// rolled back and uninstalled.
package charts

import (
	"context"
	"errors"
	"io"

	"github.com/spire-injector/spire-injector/test/charts"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/api"
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as the documentation has them too.
const (
	platform = "manifests/demo/charts/platform"

	spireNamespace    = "spire"
	injectorNamespace = "spire-injector"
	spireRelease      = "spire"
	injectorRelease   = "spire-injector"

	spireChart     = charts.SPIREChart
	injectorChart  = charts.InjectorChart
	spireValues    = "manifests/demo/charts/spire.yaml"
	injectorValues = "manifests/demo/charts/spire-injector.yaml"

	upstreamSecret = "upstream-authority"
	upstreamName   = "the upstream authority of the demo"
)

// Demo is the demo. Its workloads are those of the demo api.
func Demo() play.Demo {
	return play.Demo{
		Name:       "charts",
		About:      "SPIRE and the injector by Helm: install, upgrade, roll back, uninstall",
		Platform:   platform,
		Install:    makeRoom,
		Workloads:  []string{api.Workloads},
		Namespaces: []string{api.Namespace},
		Steps: []play.Step{
			{Name: "values", Title: "What an operator writes", Tell: tellValues},
			{Name: "variants", Title: "What the API server says of all that the charts can make", Tell: with(tellVariants)},
			{Name: "spire", Title: "SPIRE below an authority of yours", Tell: with(tellSPIRE)},
			{Name: "injector", Title: "The injector", Tell: with(tellInjector)},
			{Name: "workloads", Title: "It works", Tell: with(tellWorkloads)},
			{Name: "upgrade", Title: "A value changes", Tell: with(tellUpgrade)},
			{Name: "refusals", Title: "Values that are refused", Tell: with(tellRefusals)},
			{Name: "rollback", Title: "And back", Tell: with(tellRollback)},
			{Name: "uninstall", Title: "Uninstall, and what stays", Tell: with(tellUninstall)},
		},
	}
}

// makeRoom removes what the charts are to install: of an earlier run, or of a kustomization, which Helm would not take
// over.
func makeRoom(ctx context.Context, s scene.Scene, _ io.Writer) error {
	_, objects := s.Run(ctx, scene.Command{Args: []string{"delete", "-k", s.Path(platform), "--ignore-not-found", "--timeout=180s"}})
	return objects
}

// demo is what every step needs.
type demo struct {
	play.Telling
	helm command.Helm
}

// with makes a step of a function on this demo.
func with(tell func(context.Context, demo) (any, error)) func(context.Context, play.Telling) (any, error) {
	return func(ctx context.Context, t play.Telling) (any, error) {
		cache, err := parts.UserCache()
		if err != nil {
			return nil, err
		}
		program, err := parts.EnsureHelm(ctx, cache, t.Progress)
		if err != nil {
			return nil, err
		}
		return tell(ctx, demo{t, command.NewHelm(program, t.Scene.Env.Kubeconfig)})
	}
}

// ran is a command that the story shows with all that it printed.
func (d demo) ran(ctx context.Context, c scene.Command) error {
	defer d.Waiting(c.String())()
	r, err := d.Scene.Run(ctx, c)
	d.Show(r)
	return err
}

// refused runs Helm, which has to fail, and returns what it said.
func (d demo) refused(ctx context.Context, args ...string) (string, error) {
	out, err := d.helm.Run(ctx, d.local(args)...)
	var failed *command.Error
	switch {
	case errors.As(err, &failed):
		return failed.Stderr, nil
	case err != nil:
		return "", err
	default:
		return "", &scene.Mismatch{What: helmCommand(args), Expected: "a refusal", Got: out}
	}
}
