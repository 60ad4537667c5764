package charts

import (
	"context"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

func tellInjector(ctx context.Context, d demo) (any, error) {
	out, seconds, err := d.run(ctx, "install", injectorRelease, injectorChart, "--namespace", injectorNamespace, "--values", injectorValues,
		"--wait", "--timeout", "3m")
	if err != nil {
		return nil, err
	}
	_, notes, _ := strings.Cut(out, "NOTES:\n")
	if !strings.Contains(notes, "kubectl -n spire-injector rollout status deployment/spire-injector") {
		return nil, &scene.Mismatch{What: "the notes of the chart", Expected: "what to do next", Got: out}
	}
	d.Story.Came(notes)
	d.Story.Checked("both replicas are ready after %.1f s", seconds)
	if err := install.AwaitWebhook(ctx, d.Scene.K); err != nil {
		return nil, err
	}
	return struct {
		Seconds float64 `json:"seconds"`
	}{seconds}, nil
}
