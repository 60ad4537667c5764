package charts

import (
	"context"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/images"
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

// local are arguments as they work here: charts and values are found from everywhere, images where the cluster has them.
func (d demo) local(args []string) []string {
	var out []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "manifests/") {
			arg = d.Scene.Path(arg)
		}
		out = append(out, arg)
		switch arg {
		case d.Scene.Path(spireChart):
			out = append(out, d.image("server.image", images.SPIREServer)...)
			out = append(out, d.image("agent.image", images.SPIREAgent)...)
		case d.Scene.Path(injectorChart):
			out = append(out, d.image("image", images.Injector)...)
			if reference := d.Scene.Env.Images[images.Envoy]; reference != images.Envoy {
				out = append(out, "--set", "platform.sidecar.image="+reference)
			}
		}
	}
	return out
}

// image are the arguments for an image that was pushed, and none for one that has its name on the cluster.
func (d demo) image(value, name string) []string {
	reference := d.Scene.Env.Images[name]
	if reference == name {
		return nil
	}
	colon := strings.LastIndex(reference, ":")
	return []string{"--set", value + ".repository=" + reference[:colon], "--set", value + ".tag=" + reference[colon+1:]}
}
