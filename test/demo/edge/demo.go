// Package edge is the demo of an edge proxy, whom everybody may call, and of a sidecar behind it, whom the edge alone may call.
// Identities come from a label.
package edge

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them.
const (
	Namespace = "quickstart"
	Workloads = "manifests/demo/edge/workloads"

	Edge    = "edge-proxy"
	App     = "helloworld"
	Visitor = "visitor"
	// Port is that of the edge and of the sidecar.
	Port = "10808"

	trustDomain = "quickstart.spire.io"
)

// ID is the SPIFFE ID of the edge or of the app.
func ID(workload string) string { return "spiffe://" + trustDomain + "/" + workload }

// Demo is the demo.
func Demo() play.Demo {
	return play.Demo{
		Name:       "edge",
		About:      "an edge proxy that everybody may call, and the sidecar behind it; identities from a label",
		Platform:   "manifests/demo/edge/platform",
		Workloads:  []string{Workloads},
		Namespaces: []string{Namespace},
		Steps: []play.Step{
			{Name: "manifests", Title: "What a user writes", Tell: with(tellManifests)},
			{Name: "hello", Title: "From outside to the app", Tell: with(tellHello)},
			{Name: "around", Title: "Nobody gets around the edge", Tell: with(tellAround)},
			{Name: "label", Title: "A label is no proof", Tell: with(tellLabel)},
			{Name: "proxies", Title: "What both Envoys say of themselves", Tell: with(tellProxies)},
		},
	}
}

// demo is what every step needs.
type demo struct {
	play.Telling
	scene stage
}

// stage is the scene with what is to be seen of this demo on it.
type stage struct{ scene.Scene }

// with makes a step of a function on this demo.
func with(tell func(context.Context, demo) (any, error)) func(context.Context, play.Telling) (any, error) {
	return func(ctx context.Context, t play.Telling) (any, error) { return tell(ctx, demo{t, stage{t.Scene}}) }
}

// inDemo is a command in the demo's namespace.
func inDemo(args ...string) scene.Command { return scene.In(Namespace, args...) }

// visitor is a command in the pod without an identity.
func visitor(args ...string) scene.Command {
	return inDemo(append([]string{"exec", "deploy/" + Visitor, "-c", Visitor, "--"}, args...)...)
}

// envoyLog is the log of a workload's Envoy.
func envoyLog(workload string) scene.Command {
	return inDemo("logs", "deploy/"+workload, "-c", scene.Sidecar)
}

// manifests are the files of the two workloads that have an identity.
func manifests() []string {
	return []string{Workloads + "/" + App + ".yaml", Workloads + "/" + Edge + ".yaml"}
}
