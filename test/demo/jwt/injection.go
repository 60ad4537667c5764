package jwt

import (
	"context"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// injected is what came of applying.
type injected struct {
	Seconds    float64  `json:"secondsToFirstOK"`
	Containers []string `json:"initContainers"`
}

func tellInjection(ctx context.Context, t play.Telling) (any, error) {
	var facts injected
	applied, err := t.Scene.Apply(ctx, workloads)
	if err != nil {
		return facts, err
	}
	t.Show(applied)
	done := t.Waiting("waiting for the first ok of app")
	first, err := t.Scene.First(ctx, namespace, "the first ok of app", call(app, egress+"/api"), func(r scene.Ran) bool {
		return strings.TrimSpace(r.Stdout) == "ok"
	})
	done()
	if err != nil {
		return facts, err
	}
	facts.Seconds = applied.Until(first.End)
	t.Story.Checked("first ok %.1f s after apply", facts.Seconds)
	// The two others may still be starting.
	if _, err := t.Scene.Run(ctx, in("wait", "--for=condition=Available", "deployment", "--all", "--timeout=120s")); err != nil {
		return facts, err
	}
	pods, err := t.Scene.Run(ctx, in("get", "pod", "-o", "custom-columns=POD:.metadata.name,INIT-CONTAINERS:.spec.initContainers[*].name,CONTAINERS:.spec.containers[*].name"))
	if err != nil {
		return facts, err
	}
	t.Show(pods)
	pod, err := t.Scene.Pod(ctx, namespace, "app="+app)
	if err != nil {
		return facts, err
	}
	for _, c := range pod.Spec.InitContainers {
		facts.Containers = append(facts.Containers, c.Name)
	}
	if want := []string{intent.JWTName, scene.Sidecar}; !slices.Equal(facts.Containers, want) {
		return facts, &scene.Mismatch{What: "init containers of " + pod.Name, Expected: strings.Join(want, ", "), Got: strings.Join(facts.Containers, ", ")}
	}
	t.Story.Say("Beside Envoy runs spiffe-jwt, of the injector's own image: it keeps a token for each audience, and the keys that verify " +
		"tokens, because SPIRE gives Envoy neither. Both are there before the app starts. Both containers have the identity, the app has none:")
	entries, err := t.Scene.Run(ctx, scene.EntriesCommand("-spiffeID", id(app)))
	if err != nil {
		return facts, err
	}
	t.Show(entries)
	var names []string
	for _, e := range scene.ParseEntries(entries.Stdout) {
		for _, s := range e.Selectors {
			if name, ok := strings.CutPrefix(s, "k8s:container-name:"); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if want := []string{scene.Sidecar, intent.JWTName}; !slices.Equal(names, want) {
		return facts, &scene.Mismatch{What: "containers that the entries of " + id(app) + " select", Expected: strings.Join(want, ", "), Got: strings.Join(names, ", ")}
	}
	return facts, nil
}
