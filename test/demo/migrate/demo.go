// Package migrate is the demo of ordinary Deployments that go from plain text to mutual TLS, and back, by labels and
// annotations alone, while they call each other.
package migrate

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them.
const (
	Namespace = "shop"
	Workloads = "manifests/demo/migrate/workloads"
	Patches   = "manifests/demo/migrate/patches"

	API      = "api"
	Web      = "web"
	Batch    = "batch"
	Outsider = "outsider"

	trustDomain = "example.org"
)

// ID is the SPIFFE ID of one of the demo's workloads.
func ID(workload string) string {
	return "spiffe://" + trustDomain + "/ns/" + Namespace + "/" + workload
}

// Demo is the demo.
func Demo() play.Demo {
	counted, before := &traffic{}, &specs{} // which last from step to step
	step := func(tell func(context.Context, demo) (any, error)) func(context.Context, play.Telling) (any, error) {
		return play.On(func(t play.Telling) demo { return demo{t, stage{t.Scene}, counted, before} }, tell)
	}
	return play.Demo{
		Name:       "migrate",
		About:      "ordinary Deployments go to mutual TLS and back, by labels and annotations, without a lost call",
		Platform:   "manifests/demo/migrate/platform",
		Workloads:  []string{Workloads},
		Namespaces: []string{Namespace},
		Steps: []play.Step{
			{Name: "plain", Title: "Three Deployments that call each other in plain text", Tell: step(tellPlain)},
			{Name: "callees", Title: "Who is called takes mutual TLS, and plain text as before", Tell: step(tellCallees)},
			{Name: "callers", Title: "Who calls comes with mutual TLS", Tell: step(tellCallers)},
			{Name: "enforced", Title: "Plain text is refused", Tell: step(tellEnforced)},
			{Name: "back", Title: "And all the way back", Tell: step(tellBack)},
		},
	}
}

// demo is what every step needs.
type demo struct {
	play.Telling
	scene   stage
	traffic *traffic
	before  *specs
}

// stage is the scene with what is to be seen of this demo on it.
type stage struct{ scene.Scene }

// inShop is a command in the demo's namespace.
func inShop(args ...string) scene.Command { return scene.In(Namespace, args...) }
