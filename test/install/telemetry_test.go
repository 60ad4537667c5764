package install

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const aServer = `apiVersion: v1
kind: ConfigMap
metadata: {name: spire-server-abc}
data: {server.conf: "server {}\n"}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: spire-server}
spec: {template: {spec: {volumes: [{name: data, emptyDir: {}}, {name: config, configMap: {name: spire-server-abc}}]}}}
`

func TestTelemetryRestartsTheServer(t *testing.T) {
	objects, err := Decode(aServer)
	if err != nil {
		t.Fatal(err)
	}
	if err := withTelemetry(objects); err != nil {
		t.Fatal(err)
	}
	config, _, _ := unstructured.NestedString(kind(t, objects, "ConfigMap"), "data", "server.conf")
	if !strings.HasPrefix(config, "server {}\n") || !strings.Contains(config, "port = 9988\n") {
		t.Errorf("got the configuration %q", config)
	}
	volumes, _, _ := unstructured.NestedSlice(kind(t, objects, "StatefulSet"), "spec", "template", "spec", "volumes")
	read, _, _ := unstructured.NestedString(volumes[1].(map[string]any), "configMap", "name")
	if name := objects[0].GetName(); name == "spire-server-abc" || read != name {
		t.Errorf("the ConfigMap is %s and the server reads %s", name, read)
	}
}

func TestTelemetryOfNothing(t *testing.T) {
	for _, manifests := range []string{
		strings.Split(aServer, "---\n")[0],
		strings.Split(aServer, "---\n")[1],
		strings.Replace(aServer, "configMap: {name: spire-server-abc}", "configMap: {name: other}", 1),
	} {
		objects, err := Decode(manifests)
		if err != nil {
			t.Fatal(err)
		}
		if err := withTelemetry(objects); err == nil || !strings.HasPrefix(err.Error(), "expected a ConfigMap spire-server-") {
			t.Errorf("got error %v of\n%s", err, manifests)
		}
	}
}
