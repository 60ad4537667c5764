package play

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// Play tells a demo's story, on a cluster that it starts if need be. The summary is there also of a story that ended
// early. others are all the demos that there are: one of them that is still on the cluster is taken down first.
func Play(ctx context.Context, d Demo, others []Demo, s *story.Story, progress io.Writer) (*Summary, error) {
	begin := time.Now()
	sum := &Summary{Demo: d.Name, Steps: []StepSummary{}}
	err := sum.play(ctx, d, others, s, progress)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("stopped: %w", cause)
	}
	sum.end(err, time.Since(begin))
	return sum, err
}

func (sum *Summary) play(ctx context.Context, d Demo, others []Demo, s *story.Story, progress io.Writer) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	begin := time.Now()
	env, err := prepare(ctx, d, progress)
	if err != nil {
		return err
	}
	sum.Kubeconfig, sum.ClusterSeconds = env.Kubeconfig, rounded(time.Since(begin))
	begin = time.Now()
	t := Telling{Scene: scene.New(env, root), Story: s, Progress: progress}
	removed, err := makeRoom(ctx, d, others, t)
	if err != nil {
		return err
	}
	if err := installPlatform(ctx, d, t); err != nil {
		return err
	}
	done := t.Waiting("removing what an earlier run left")
	cleared, err := d.removeWorkloads(ctx, t.Scene)
	done()
	if err != nil {
		return err
	}
	sum.PlatformSeconds = rounded(time.Since(begin))
	tellStage(d, t, removed, cleared)
	for _, step := range d.Steps {
		s.Heading(step.Title)
		begin := time.Now()
		facts, err := step.Tell(ctx, t)
		sum.add(step.Name, facts, time.Since(begin), err)
		if err != nil {
			return fmt.Errorf("step %q: %w", step.Title, err)
		}
		s.Pause(ctx)
	}
	return nil
}

// prepare provides the cluster and the demo's images.
func prepare(ctx context.Context, d Demo, progress io.Writer) (environment.Environment, error) {
	env, err := environment.Prepare(ctx, progress)
	if err != nil || d.Images == nil {
		return env, err
	}
	cache, err := parts.UserCache()
	if err != nil {
		return env, err
	}
	archives, err := d.Images(ctx, cache, progress)
	if err != nil {
		return env, err
	}
	return env.With(ctx, archives, progress)
}

// tellStage says where the story plays, and how to follow it in another terminal.
func tellStage(d Demo, t Telling, removed string, cleared bool) {
	s := t.Story
	s.Say("A Kubernetes cluster runs, and on it SPIRE, which issues identities, and spire-injector: a webhook that gives a pod " +
		"with one label such an identity, and an Envoy beside the app that speaks mutual TLS with it.")
	if removed != "" {
		s.Say("%s was removed first.", removed)
	}
	if cleared {
		s.Say("What an earlier run left in %s was removed; everything below starts anew.", namespaces(d))
	}
	s.Say("Every command below can be typed along in another terminal. There, first:")
	lines := []string{"cd " + t.Scene.Root, "export KUBECONFIG=" + t.Scene.Env.Kubeconfig}
	if _, err := exec.LookPath("kubectl"); err != nil {
		lines = append(lines, "alias kubectl="+t.Scene.Env.Kubectl)
	}
	s.Typed(lines...)
}

func namespaces(d Demo) string {
	if len(d.Namespaces) == 1 {
		return "the namespace " + d.Namespaces[0]
	}
	return "the namespaces " + strings.Join(d.Namespaces, ", ")
}
