// Package federated is the demo of two trust domains whose workloads call each other, and whose bundles stay fresh. One
// of them has a nested SPIRE server, too.
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
	workloads = folder + "workloads"
	alone     = platform + "/config.yaml"      // the platform file of example.org
	related   = folder + "related/config.yaml" // the same with auxiliary.org in it

	audience = "testIt"
)

// site is a SPIRE server with its agents, its injector, and a workload.
type site struct {
	name      string // in the story
	domain    string // trust domain
	namespace string // of the server
	injector  string // namespace of the injector
	config    string // the injector's platform file, with the relationship
	workload  scene.Workload
	app       string // container
	id        string // of the workload
}

var (
	example = site{
		name: "example.org", domain: "example.org", namespace: "spire", injector: injectorNamespace, config: related, app: "webapp",
		id:       "spiffe://example.org/webapp",
		workload: scene.Workload{Namespace: "broker", Deployment: "broker-webapp", Container: "workload"},
	}
	nested = site{
		name: "the nested server", domain: "example.org", namespace: "nested", injector: "nested", config: folder + "nested/config.yaml", app: "webapp",
		id:       "spiffe://example.org/nested/webapp",
		workload: scene.Workload{Namespace: "branch", Deployment: "branch-webapp", Container: "workload"},
	}
	other = site{
		name: "auxiliary.org", domain: "auxiliary.org", namespace: "auxiliary", injector: "auxiliary", config: folder + "auxiliary/config.yaml",
		app: "quotes-service", id: "spiffe://auxiliary.org/quotes-service",
		workload: scene.Workload{Namespace: "stockmarket", Deployment: "stock-quotes-service", Container: "workload"},
	}
)

func sites() []site { return []site{example, nested, other} }

// besides are those beside the platform, as it is installed.
func besides() []site { return []site{nested, other} }

func (s site) kustomization() string { return folder + s.namespace }

// pair is two sites of different trust domains, of which one calls the other.
type pair struct {
	from, to site
	url      string // where the app of one finds that of the other
}

func pairs() []pair {
	return []pair{
		{example, other, "http://127.0.0.1:8090/echo/quotes"},
		{other, example, "http://127.0.0.1:8080/echo"},
		{nested, other, "http://127.0.0.1:8090/echo/quotes"},
		{other, nested, "http://127.0.0.1:8081/echo"},
	}
}

// Demo returns it.
func Demo() play.Demo {
	d := play.Demo{
		Name:     "federated",
		About:    "two trust domains, one with a nested server, that call each other; bundles stay fresh where SPIRE alone would let them get old",
		Platform: platform,
		Clear:    forget,
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
	for _, s := range sites() {
		d.Namespaces = append(d.Namespaces, s.workload.Namespace)
	}
	for _, s := range besides() { // after the workloads, which they serve
		d.Namespaces = append(d.Namespaces, s.namespace)
		d.Workloads = append(d.Workloads, s.kustomization())
	}
	d.Workloads = append(d.Workloads, workloads)
	return d
}

// forget takes what the SPIRE server of example.org has of auxiliary.org, if that server is there.
func forget(ctx context.Context, s scene.Scene) error {
	for _, args := range [][]string{
		{"federation", "delete", "-id", other.domain},
		{"bundle", "delete", "-id", "spiffe://" + other.domain, "-mode", "dissociate"},
	} {
		if _, err := s.Try(ctx, scene.ServerCommand(example.namespace, args...)); err != nil {
			return err
		}
	}
	return nil
}
