// Package workloads is the demo of programs that speak SPIFFE themselves: no Envoy, but the SPIRE agent's socket in
// their containers.
package workloads

import (
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them.
const (
	Namespace = "workloads"
	Workloads = "manifests/demo/workloads/workloads"

	SPIFFEClient = "spiffe-client"
	HTTPSClient  = "https-client"
	HTTPSServer  = "https-server"

	// Audience is whom the server wants JWT-SVIDs to be for.
	Audience = "myapp"

	trustDomain = "example.org"
)

// ID is the SPIFFE ID of one of the demo's workloads: after its namespace and service account.
func ID(workload string) string {
	return "spiffe://" + trustDomain + "/ns/" + Namespace + "/sa/" + workload
}

// Demo is the demo.
func Demo() play.Demo {
	return play.Demo{
		Name:       "workloads",
		About:      "programs that speak SPIFFE themselves: SVIDs to files, mutual TLS and JWT-SVIDs without a proxy",
		Platform:   "manifests/demo/workloads/platform",
		Workloads:  []string{Workloads},
		Namespaces: []string{Namespace},
		Steps: []play.Step{
			{Name: "manifests", Title: "What a user writes", Tell: play.On(newDemo, tellManifests)},
			{Name: "fetch", Title: "An X.509-SVID and a JWT-SVID", Tell: play.On(newDemo, tellFetch)},
			{Name: "calls", Title: "Mutual TLS and JWT-SVIDs, both ways", Tell: play.On(newDemo, tellCall)},
			{Name: "refusals", Title: "Who is refused, by whom, and why", Tell: play.On(newDemo, tellRefusals)},
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

// in is a command of the sample image in a workload's container.
func in(workload string, args ...string) scene.Command {
	return inDemo(append([]string{"exec", "deploy/" + workload, "--", "/sample"}, args...)...)
}

// callCommand calls the server.
func callCommand(from, peer, audience string) scene.Command {
	return in(from, "https-client", HTTPSServer+":443", "--peer", ID(peer), "--audience", audience)
}

// serverLog is the log of the server.
func serverLog() scene.Command { return inDemo("logs", "deploy/"+HTTPSServer) }
