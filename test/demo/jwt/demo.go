// Package jwt is the demo of JWT-SVIDs at the proxy: the caller's Envoy adds them, the callee's verifies audience and
// subject, and the app is told who called. The names and ports are those of Emissary's examples.
package jwt

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The demo's names, as its manifests have them.
const (
	namespace = "jwt"
	workloads = "manifests/demo/jwt/workloads"

	trustworthy = "trustworthy"
	app         = "app"
	stranger    = "stranger"

	clientContainer = "client"

	// egress is where a client's app finds trustworthy: its own Envoy. public is the port of trustworthy without mutual
	// TLS.
	egress = "http://127.0.0.1:18000"
	public = "http://trustworthy.jwt.svc:8081"
)

// id is the SPIFFE ID of one of the demo's workloads.
func id(workload string) string { return "spiffe://example.org/" + workload }

// Demo is the demo.
func Demo() play.Demo {
	return play.Demo{
		Name:       "jwt",
		About:      "JWT-SVIDs added and verified by the sidecars: allowed subjects, a key rotation under traffic",
		Platform:   "manifests/demo/jwt/platform",
		Workloads:  []string{workloads},
		Namespaces: []string{namespace},
		Steps: []play.Step{
			{Name: "manifests", Title: "What a user writes", Tell: tellManifests},
			{Name: "injection", Title: "What the webhook makes of it", Tell: tellInjection},
			{Name: "caller", Title: "The app sees who called, and nobody can pretend", Tell: tellCaller},
			{Name: "refused", Title: "Who is refused, and why", Tell: tellRefused},
			{Name: "subjects", Title: "The list of subjects changes while the pod runs", Tell: tellSubjects},
			{Name: "rotation", Title: "SPIRE rotates its key under traffic, and revokes the old one", Tell: tellRotation},
			{Name: "further", Title: "How to look further, and how to stop", Tell: tellFurther},
		},
	}
}

// in is a command in the demo's namespace.
func in(args ...string) scene.Command { return scene.In(namespace, args...) }

// call is a request by the app of a workload.
func call(workload, url string, flags ...string) scene.Command {
	return in(append([]string{"exec", "deploy/" + workload, "-c", clientContainer, "--", "/sample", "get", url}, flags...)...)
}

func logOf(workload, container string, flags ...string) scene.Command {
	return in(append(append([]string{"logs"}, flags...), "deploy/"+workload, "-c", container)...)
}

func tellManifests(_ context.Context, t play.Telling) (any, error) {
	found, err := t.Scene.Manifests(workloads+"/trustworthy.yaml", workloads+"/app.yaml", workloads+"/stranger.yaml")
	if err != nil {
		return nil, err
	}
	t.Story.Say("Three Deployments. The sidecar of trustworthy asks each request for a JWT-SVID: on port 8080 beside a certificate, and " +
		"on port 8081, which is for the public, in its place. The sidecars of the two clients add one.")
	t.ShowManifests(found)
	t.Story.Say("A token is for trustworthy, which is the default on both sides, and only those of app are let in; the certificate of stranger is.")
	return struct {
		Manifests any `json:"manifests"`
	}{found}, nil
}

func tellFurther(_ context.Context, t play.Telling) (any, error) {
	t.Story.Say("What the two containers log: who called, and when tokens and keys came:")
	t.Story.Typed(logOf(trustworthy, scene.Sidecar, "-f").String(), logOf(app, intent.JWTName, "-f").String())
	t.Story.Say("manifests/demo/jwt/README.md shows beside this what it took with Envoy and Emissary. Everything keeps running. To remove " +
		"the demo, SPIRE and the injector:")
	t.Story.Typed("make demo-jwt-down")
	return nil, nil
}
