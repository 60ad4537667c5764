package api

import (
	"context"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/story"
)

// injectionFacts are the figures of applying and of what the webhook did.
type injectionFacts struct {
	Applied
	Injected
}

func tellInjection(ctx context.Context, d demo) (any, error) {
	var facts injectionFacts
	var err error
	if facts.Applied, err = d.scene.Apply(ctx); err != nil {
		return nil, err
	}
	d.Show(facts.Applied.Ran)
	done := d.Waiting("waiting for the first ok of the valid client")
	facts.Applied, err = d.scene.FirstOK(ctx, facts.Applied)
	done()
	if err != nil {
		return facts, err
	}
	note := ""
	if facts.Registered {
		note = " (SPIRE had these identities already, from an earlier run)"
	}
	d.Story.Checked("first ok of the valid client %.1f s after apply%s", facts.Seconds, note)
	pods, err := d.scene.Pods(ctx)
	if err != nil {
		return facts, err
	}
	d.Show(pods)

	if facts.Injected, err = d.scene.Injected(ctx); err != nil {
		return facts, err
	}
	d.Story.Say("Each pod has two containers now. The first is Envoy, a native sidecar: it starts before the app, and the app starts " +
		"only when Envoy has its certificate.")
	d.Show(facts.ContainersRan)
	d.Story.Say("What was done stands in one annotation, as JSON. Laid out:")
	d.Story.Typed(facts.StatusRan.Command.String())
	status := facts.Status
	d.Story.Fields(story.Pairs(
		"spiffeID", status.SPIFFEID,
		"entryIDs", strings.Join(status.EntryIDs, ", "),
		"sidecar", status.Sidecar,
		"volumes", strings.Join(status.Volumes, ", "),
		"version", status.Version,
	)...)
	d.Story.Say("The first volume holds Envoy's configuration, %d bytes generated from the annotations above and kept in annotations "+
		"beside them; the second is the directory of the SPIRE agent's socket, mounted into Envoy only. Before the pod was "+
		"created, the webhook registered its identity in SPIRE:", facts.Bytes)
	d.Show(facts.EntryRan)
	d.Story.Checked("the entry selects the namespace, the service account, this workload's label, and the container envoy alone")
	return facts, nil
}
