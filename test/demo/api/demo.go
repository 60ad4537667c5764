// Package api is the demo of an API with a valid and an invalid client: what a user writes, what the webhook makes of
// it, who may call, and how that changes on a running pod.
package api

import (
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them.
const (
	Namespace = "demo"
	Workloads = "manifests/demo/api/workloads"

	API     = "api"
	Valid   = "valid-api-client"
	Invalid = "invalid-api-client"

	// URL is where a client's app finds the API: its own Envoy.
	URL = "http://127.0.0.1:8000/api"

	trustDomain     = "example.org"
	clientContainer = "client"
	apiContainer    = "api"
)

// ID is the SPIFFE ID of one of the demo's workloads.
func ID(workload string) string { return "spiffe://" + trustDomain + "/" + workload }

// Demo is the demo.
func Demo() play.Demo {
	return play.Demo{
		Name:       "api",
		About:      "an API with a valid and an invalid client, whose rights change while they run",
		Platform:   "manifests/demo/api/platform",
		Workloads:  []string{Workloads},
		Namespaces: []string{Namespace},
		Steps: []play.Step{
			{Name: "manifests", Title: "What a user writes", Tell: play.On(newDemo, tellManifests)},
			{Name: "injection", Title: "What the webhook makes of it", Tell: play.On(newDemo, tellInjection)},
			{Name: "calls", Title: "Who gets an answer, and who does not", Tell: play.On(newDemo, tellCalls)},
			{Name: "admit", Title: "The list changes while the pod runs", Tell: play.On(newDemo, tellAdmit)},
			{Name: "remove", Title: "And back again, also on an open connection", Tell: play.On(newDemo, tellRemove)},
			{Name: "limits", Title: "What the app itself cannot do", Tell: play.On(newDemo, tellLimits)},
			{Name: "further", Title: "How to look further, and how to stop", Tell: play.On(newDemo, tellFurther)},
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

// envoyLog is the log of the API's Envoy.
func envoyLog(flags ...string) scene.Command {
	return inDemo(append(append([]string{"logs"}, flags...), "deploy/"+API, "-c", scene.Sidecar)...)
}
