package charts

import (
	"context"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/charts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// helmCommand is a command line of Helm as a reader could type it.
func helmCommand(args []string) string {
	words := []string{"helm"}
	for _, arg := range args {
		words = append(words, scene.Quote(arg))
	}
	return strings.Join(words, " ")
}

// run runs Helm, shows the command, and returns what it printed and how long it took, in seconds.
func (d demo) run(ctx context.Context, args ...string) (out string, seconds float64, err error) {
	d.Story.Typed(helmCommand(args))
	defer d.Waiting("helm " + args[0])()
	begin := time.Now()
	out, err = d.helm.Run(ctx, d.local(args)...)
	return out, scene.Seconds(time.Since(begin)), err
}

// local are arguments as they work here: charts and values are found from everywhere, images where the cluster has
// them.
func (d demo) local(args []string) []string {
	var out []string
	for _, arg := range args {
		of := charts.ImageArgs(arg, d.Scene.Env.Images)
		if strings.HasPrefix(arg, "manifests/") {
			arg = d.Scene.Path(arg)
		}
		out = append(append(out, arg), of...)
	}
	return out
}
