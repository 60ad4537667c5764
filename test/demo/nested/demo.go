// Package nested is the demo of SPIRE servers below another one, which the injector of that one registers.
package nested

import (
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them.
const (
	folder    = "manifests/demo/nested/"
	platform  = folder + "platform"
	workloads = folder + "workloads"

	root        = "spire" // namespace of the root server
	trustDomain = "spiffe://example.org"
	audience    = "testIt"
)

// nestedServer is a SPIRE server below the root, and its workload.
type nestedServer struct {
	namespace string
	id        string // path, of the server
	workload  scene.Workload
}

var (
	serverA = nestedServer{"nested-a", "/nestedA", scene.Workload{Namespace: "workload-a", Deployment: "workload", Container: "workload"}}
	serverB = nestedServer{"nested-b", "/nestedB", scene.Workload{Namespace: "workload-b", Deployment: "workload", Container: "workload"}}
)

func servers() []nestedServer { return []nestedServer{serverA, serverB} }

// workloadID is the SPIFFE ID of the server's workload.
func (s nestedServer) workloadID() string { return trustDomain + s.id + "/workload" }

func (s nestedServer) kustomization() string { return folder + s.namespace }

// Demo returns it.
func Demo() play.Demo {
	d := play.Demo{
		Name:     "nested",
		About:    "SPIRE servers below another one, registered by an annotation; an SVID of one verifies at the other",
		Platform: platform,
		Steps: []play.Step{
			{Name: "manifests", Title: "What makes a SPIRE server a nested one", Tell: tellManifests},
			{Name: "servers", Title: "The root's injector registers them", Tell: tellServers},
			{Name: "bundles", Title: "One trust domain, one bundle", Tell: tellBundles},
			{Name: "tokens", Title: "A JWT-SVID of one verifies at the other", Tell: tellTokens},
			{Name: "calls", Title: "And so do the certificates", Tell: tellCalls},
			{Name: "limits", Title: "Who cannot be a SPIRE server", Tell: tellLimits},
		},
	}
	for _, s := range servers() {
		d.Workloads = append(d.Workloads, s.kustomization())
		d.Namespaces = append(d.Namespaces, s.workload.Namespace)
	}
	for _, s := range servers() { // after the workloads, which they serve
		d.Namespaces = append(d.Namespaces, s.namespace)
	}
	d.Workloads = append(d.Workloads, workloads)
	return d
}
