// Package play is what a demo is made of, and how it is played, told and taken down on a cluster. What belongs to one
// demo alone is in the package of that demo.
package play

import (
	"context"
	"io"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
	"github.com/spire-injector/spire-injector/test/images"
)

// Demo is a story that is played on a cluster, and what it needs there. Folders are given from the project's top
// folder.
type Demo struct {
	// Name is how it is called on the command line.
	Name string
	// About says in a line what it shows.
	About string
	// Platform is the kustomization of SPIRE and the injector. Whoever plays it finds both ready.
	Platform string
	// Install brings the platform up in the place of [install.Platform], if that is not enough.
	Install func(ctx context.Context, s scene.Scene, progress io.Writer) error
	// Images are those beyond the images of every cluster, if there are any.
	Images func(ctx context.Context, cache parts.Cache, progress io.Writer) ([]images.Archive, error)
	// Workloads are the kustomizations that steps apply. What they name is removed before the story and with the demo.
	Workloads []string
	// Namespaces are those of the workloads; they are removed with all that is in them.
	Namespaces []string
	// Clear removes what else a run leaves, on the cluster or beside it. It is called before the story, too: nothing may
	// be there.
	Clear func(ctx context.Context, s scene.Scene) error
	// Steps are the story.
	Steps []Step
}

// Step is one of a story's.
type Step struct {
	// Name in the summary.
	Name string
	// Title is its heading.
	Title string
	// Tell does the step, tells it, and returns its figures. An error is a claim that did not hold, or a failure.
	Tell func(ctx context.Context, t Telling) (facts any, err error)
}

// Telling is what every step needs.
type Telling struct {
	Scene    scene.Scene
	Story    *story.Story
	Progress io.Writer
}

// On makes a step of a function on a demo's own type, which has more than a [Telling].
func On[D any](demo func(Telling) D, tell func(context.Context, D) (any, error)) func(context.Context, Telling) (any, error) {
	return func(ctx context.Context, t Telling) (any, error) { return tell(ctx, demo(t)) }
}

// Waiting tells people on the progress writer that something takes long, until done is called.
func (t Telling) Waiting(what string) (done func()) {
	return story.Waiting(t.Progress, story.Patience, what)
}

// ShowManifests tells what users write about identity in each of some files.
func (t Telling) ShowManifests(manifests []scene.Manifest) {
	for _, m := range manifests {
		t.Story.Say("%s (%d lines in all):", m.Path, m.Lines)
		t.Story.Came(m.Excerpt)
	}
}

// Show tells a command and what came of it.
func (t Telling) Show(r scene.Ran) {
	t.Story.Typed(r.Command.String())
	t.Story.Came(r.Output())
}
