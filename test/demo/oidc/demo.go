// Package oidc is the demo of SPIRE's OIDC discovery provider, by which those verify JWT-SVIDs who know nothing of
// SPIFFE.
package oidc

import (
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/images"
)

// The demo's names, as its manifests have them.
const (
	platform  = "manifests/demo/oidc/platform"
	workloads = "manifests/demo/oidc/workloads"

	server    = "spire" // namespace of the SPIRE server
	namespace = "spire-oidc"
	provider  = "spire-oidc"

	host     = "oidc-discovery.example.org"
	issuer   = "https://" + host
	audience = "mys3"
	clientID = "spiffe://example.org/ns/spire-oidc/client"
)

func client() scene.Workload {
	return scene.Workload{Namespace: namespace, Deployment: "client", Container: "client"}
}

// Demo returns it.
func Demo() play.Demo {
	return play.Demo{
		Name:       "oidc",
		About:      "SPIRE's OIDC discovery provider as a workload; a token verifies where nobody knows SPIFFE",
		Platform:   platform,
		Images:     images.ForOIDC,
		Workloads:  []string{workloads},
		Namespaces: []string{namespace},
		Steps: []play.Step{
			{Name: "manifests", Title: "What a user writes", Tell: tellManifests},
			{Name: "provider", Title: "The discovery provider", Tell: tellProvider},
			{Name: "keys", Title: "It serves the server's keys", Tell: tellKeys},
			{Name: "verify", Title: "A verifier without SPIFFE", Tell: tellVerify},
			{Name: "rotation", Title: "The next day's key", Tell: tellRotation},
		},
	}
}
