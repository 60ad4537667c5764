package offline

import (
	"bytes"
	"testing"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const platformText = `
apiVersion: injector.spiffe.io/v1alpha1
kind: InjectorConfig
trustDomain: example.org
clusterName: demo-cluster
spire:
  server: {address: "spire-server.spire:8081"}
  agentSocket: {hostPath: /run/spire/sockets, file: agent.sock}
sidecar: {image: envoy}
`

// Whatever stands in a file, the command refuses it and prints nothing, or prints what it would print of that again.
func FuzzInject(f *testing.F) {
	platform, err := intent.ParsePlatform([]byte(platformText))
	if err != nil {
		f.Fatal(err)
	}
	injector := inject.Injector{Platform: platform, Version: "test"}
	const pod = "metadata: {labels: {spiffe.io/inject: enabled}, annotations: {spiffe.io/app-port: \"8080\", spiffe.io/allowed-peers: /web}}\nspec: {containers: [{name: a, image: a}]}"
	for _, s := range []string{
		"", "---\n", "a: b\n---\n...\n", "apiVersion: v1\nkind: Pod\n" + pod, "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {metadata: null, spec: {}}}",
		"apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: null}}}", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}, 1]",
		"apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {labels: {spiffe.io/inject: enabled}}}", "{\"apiVersion\": \"v1\"} {}", "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {spiffe.io/inject: required}}\n---\napiVersion: v1\nkind: Pod\n" + pod,
		"apiVersion: v1\nkind: Pod\nmetadata: {labels: {spiffe.io/inject: true}}", "apiVersion: v1\nkind: Pod\nspec: null", "a: &a [*a, *a]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		out, err := Inject(injector, "default", input)
		if err != nil {
			if len(out.Manifests) > 0 || len(out.Workloads) > 0 {
				t.Errorf("refused with %v, and yet %q and %v", err, out.Manifests, out.Workloads)
			}
			return
		}
		again, err := Inject(injector, "default", out.Manifests)
		if err != nil {
			t.Fatalf("%q\nbecame what is refused: %v", input, err)
		}
		if !bytes.Equal(out.Manifests, again.Manifests) {
			t.Errorf("%q\nbecame %q\nand that %q", input, out.Manifests, again.Manifests)
		}
	})
}
