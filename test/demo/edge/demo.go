// Package edge is the demo of an edge proxy, whom everybody may call, and of a sidecar behind it, whom the edge alone
// may call. Identities come from a label.
package edge

import (
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
			{Name: "manifests", Title: "What a user writes", Tell: play.On(newDemo, tellManifests)},
			{Name: "hello", Title: "From outside to the app", Tell: play.On(newDemo, tellHello)},
			{Name: "around", Title: "Nobody gets around the edge", Tell: play.On(newDemo, tellAround)},
			{Name: "label", Title: "A label is no proof", Tell: play.On(newDemo, tellLabel)},
			{Name: "proxies", Title: "What both Envoys say of themselves", Tell: play.On(newDemo, tellProxies)},
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

func newDemo(t play.Telling) demo { return demo{t, stage{t.Scene}} }

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
