// Package federated is the demo of two trust domains whose workloads call each other, and whose bundles stay fresh.
package federated

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The demo's names, as its manifests have them.
const (
	folder    = "manifests/demo/federated/"
	platform  = folder + "platform"
	auxiliary = folder + "auxiliary"
	workloads = folder + "workloads"
	alone     = platform + "/config.yaml"      // the platform file of example.org
	related   = folder + "related/config.yaml" // the same with auxiliary.org in it

	audience = "testIt"
)

// domain is one of the two, with its workload.
type domain struct {
	name      string
	namespace string // of its SPIRE server
	workload  scene.Workload
	app       string // container
	id        string // of the workload
	peerURL   string // where the app finds the other domain's
}

var (
	example = domain{
		name: "example.org", namespace: "spire", id: "spiffe://example.org/webapp", app: "webapp", peerURL: "http://127.0.0.1:8090/echo/quotes",
		workload: scene.Workload{Namespace: "broker", Deployment: "broker-webapp", Container: "workload"},
	}
	other = domain{
		name: "auxiliary.org", namespace: "auxiliary", id: "spiffe://auxiliary.org/quotes-service", app: "quotes-service", peerURL: "http://127.0.0.1:8080/echo",
		workload: scene.Workload{Namespace: "stockmarket", Deployment: "stock-quotes-service", Container: "workload"},
	}
)

// Demo returns it.
func Demo() play.Demo {
	return play.Demo{
		Name:       "federated",
		About:      "two trust domains whose workloads call each other; their bundles stay fresh where SPIRE alone would let them get old",
		Platform:   platform,
		Workloads:  []string{auxiliary, workloads},
		Namespaces: []string{other.workload.Namespace, example.workload.Namespace, other.namespace},
		Clear:      forget,
		Steps: []play.Step{
			{Name: "manifests", Title: "What a user writes", Tell: tellManifests},
			{Name: "domains", Title: "A second trust domain", Tell: tellDomains},
			{Name: "calls", Title: "They call each other", Tell: tellCalls},
			{Name: "tokens", Title: "And take each other's tokens", Tell: tellTokens},
			{Name: "stale", Title: "How a bundle gets old", Tell: tellStale},
			{Name: "fresh", Title: "How it stays fresh", Tell: tellFresh},
			{Name: "limits", Title: "Who is not served", Tell: tellLimits},
		},
	}
}

// forget takes what the SPIRE server of example.org has of auxiliary.org, if that server is there.
func forget(ctx context.Context, s scene.Scene) error {
	for _, args := range [][]string{
		{"federation", "delete", "-id", other.name},
		{"bundle", "delete", "-id", "spiffe://" + other.name, "-mode", "dissociate"},
	} {
		if _, err := s.Try(ctx, scene.ServerCommand(example.namespace, args...)); err != nil {
			return err
		}
	}
	return nil
}
