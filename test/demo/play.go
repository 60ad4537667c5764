package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
	"github.com/spire-injector/spire-injector/test/install"
)

// demo is what every step needs.
type demo struct {
	scene    scene.Scene
	story    *story.Story
	progress io.Writer
}

// step is one of the story's, told as it happens.
type step struct {
	name  string // in the summary
	title string
	// tell does the step and returns its figures.
	tell func(context.Context, demo) (facts any, err error)
}

func steps() []step {
	return []step{
		{"manifests", "What a user writes", tellManifests},
		{"injection", "What the webhook makes of it", tellInjection},
		{"calls", "Who gets an answer, and who does not", tellCalls},
		{"admit", "The list changes while the pod runs", tellAdmit},
		{"remove", "And back again, also on an open connection", tellRemove},
		{"limits", "What the app itself cannot do", tellLimits},
		{"further", "How to look further, and how to stop", tellFurther},
	}
}

// play tells the story and writes the summary, also of a story that ended early.
func play(ctx context.Context, s *story.Story, out, progress io.Writer) error {
	begin := time.Now()
	sum := summary{Steps: []stepSummary{}}
	err := sum.play(ctx, s, progress)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("stopped: %w", cause)
	}
	sum.end(err, time.Since(begin))
	return errors.Join(err, sum.write(out))
}

func (sum *summary) play(ctx context.Context, s *story.Story, progress io.Writer) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	begin := time.Now()
	env, err := environment.Prepare(ctx, progress)
	if err != nil {
		return err
	}
	sum.Kubeconfig, sum.ClusterSeconds = env.Kubeconfig, rounded(time.Since(begin))
	begin = time.Now()
	d := demo{scene: scene.New(env, root), story: s, progress: progress}
	if err := install.Platform(ctx, env, filepath.Join(root, filepath.FromSlash(scene.Platform)), progress); err != nil {
		return err
	}
	done := d.waiting("removing what an earlier run left in namespace " + scene.Namespace)
	cleared, err := d.scene.Clear(ctx)
	done()
	if err != nil {
		return err
	}
	sum.PlatformSeconds = rounded(time.Since(begin))
	tellStage(s, env, cleared, root)
	for _, step := range steps() {
		s.Heading(step.title)
		begin := time.Now()
		facts, err := step.tell(ctx, d)
		sum.add(step.name, facts, time.Since(begin), err)
		if err != nil {
			return fmt.Errorf("step %q: %w", step.title, err)
		}
		s.Pause(ctx)
	}
	return nil
}

// tellStage says where the story plays, and how to follow it in another terminal.
func tellStage(s *story.Story, env environment.Environment, cleared bool, root string) {
	s.Say("A Kubernetes cluster runs, and on it SPIRE, which issues identities, and spire-injector: a webhook that gives a pod " +
		"with one label such an identity, and an Envoy beside the app that speaks mutual TLS with it.")
	if cleared {
		s.Say("The namespace %s of an earlier run was removed; everything below starts anew.", scene.Namespace)
	}
	s.Say("Every command below can be typed along in another terminal. There, first:")
	lines := []string{"cd " + root, "export KUBECONFIG=" + env.Kubeconfig}
	if _, err := exec.LookPath("kubectl"); err != nil {
		lines = append(lines, "alias kubectl="+env.Kubectl)
	}
	s.Typed(lines...)
}

// waiting tells people on the progress writer that something takes long.
func (d demo) waiting(what string) (done func()) {
	return story.Waiting(d.progress, story.Patience, what)
}

// show tells a command and what came of it.
func (d demo) show(r scene.Ran) {
	d.story.Typed(r.Command.String())
	d.story.Came(r.Output())
}
