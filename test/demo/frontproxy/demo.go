// Package frontproxy is the demo of a proxy for clients outside the cluster, who have to show a certificate of SPIRE's,
// and of a backend behind it that checks on whose behalf the proxy calls. One client takes its certificate from a pod,
// another has a SPIRE agent of its own.
package frontproxy

import (
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them. Workloads and namespaces are called alike, but for the generator's.
const (
	Workloads = "manifests/demo/frontproxy/workloads"

	Proxy              = "proxy"
	Backend            = "backend"
	Generator          = "generator"
	GeneratorNamespace = "cert-gen"
	// Port is that of the services of the proxy and of the backend.
	Port = "443"
	// Local is where a reader has the proxy's.
	Local = "8443"
	// Host is the name in the proxy's certificate, and of its route.
	Host = "example.com"

	trustDomain = "example.com"
	// outsideEntry is the registration entry of the client that has an agent of its own.
	outsideEntry = "frontproxy.outside"
	agentConfig  = "manifests/demo/frontproxy/outside/agent.conf"
)

// IDs of the demo.
const (
	ProxyID     = "spiffe://" + trustDomain + "/ns/proxy/sa/default"
	BackendID   = "spiffe://" + trustDomain + "/ns/backend/sa/default"
	GeneratorID = "spiffe://" + trustDomain + "/ns/cert-gen/sa/generator"
	OutsideID   = "spiffe://" + trustDomain + "/outside/client"
)

// Demo is the demo.
func Demo() play.Demo {
	return play.Demo{
		Name:       "frontproxy",
		About:      "a proxy for clients outside the cluster, and a backend that checks on whose behalf it calls",
		Platform:   "manifests/demo/frontproxy/platform",
		Workloads:  []string{Workloads},
		Namespaces: []string{Proxy, Backend, GeneratorNamespace},
		Clear:      clear,
		Steps: []play.Step{
			{Name: "manifests", Title: "What users write", Tell: play.On(newDemo, tellManifests)},
			{Name: "served", Title: "A client outside the cluster is served", Tell: play.On(newDemo, tellServed)},
			{Name: "refused", Title: "Without a certificate nobody is", Tell: play.On(newDemo, tellRefused)},
			{Name: "forged", Title: "Nobody can say that it is somebody else", Tell: play.On(newDemo, tellForged)},
			{Name: "list", Title: "The backend has a list of its own", Tell: play.On(newDemo, tellList)},
			{Name: "outside", Title: "A client with a SPIRE agent of its own", Tell: play.On(newDemo, tellOutside)},
			{Name: "gone", Title: "Nothing is left in SPIRE", Tell: play.On(newDemo, tellGone)},
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

// server is a command line of the SPIRE server.
func server(args ...string) scene.Command {
	return scene.ServerCommand("spire", args...)
}

// envoyLog is the log of a workload's Envoy.
func envoyLog(workload string) scene.Command {
	return scene.In(workload, "logs", "deploy/"+workload, "-c", scene.Sidecar)
}
