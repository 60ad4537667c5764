package charts

import (
	"context"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/api"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func tellWorkloads(ctx context.Context, d demo) (any, error) {
	d.Story.Say("The three Deployments of the demo api: an API, a client that may call it, and one that may not.")
	applied, err := d.Scene.Apply(ctx, api.Workloads)
	if err != nil {
		return nil, err
	}
	d.Show(applied)
	call, err := d.allowed(ctx)
	d.Show(call)
	if err != nil {
		return nil, err
	}
	seconds := scene.Seconds(time.Since(applied.Start))
	d.Story.Checked("the valid client is answered, %.1f s after kubectl apply", seconds)
	refused, err := d.Scene.Try(ctx, api.CallCommand(api.Invalid))
	if err != nil {
		return nil, err
	}
	d.Show(refused)
	if !refused.Failed || !strings.Contains(refused.Stdout, "upstream connect error") {
		return nil, &scene.Mismatch{What: "call of the invalid client", Expected: "upstream connect error", Got: refused.Output()}
	}
	d.Story.Checked("the invalid one is not")
	return struct {
		Seconds float64 `json:"secondsToFirstOK"`
	}{seconds}, nil
}

// allowed calls as the valid client until it is answered.
func (d demo) allowed(ctx context.Context) (scene.Ran, error) {
	return d.Scene.First(ctx, api.Namespace, "the first ok of the valid client", api.CallCommand(api.Valid), func(r scene.Ran) bool {
		return strings.TrimSpace(r.Stdout) == "ok"
	})
}
