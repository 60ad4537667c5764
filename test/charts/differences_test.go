package charts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const kustomized = `
apiVersion: v1
kind: Namespace
metadata: {name: ns}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: ns, name: files-bcdfghkmt2}
data:
  a.yaml: "a: 1"
  b.conf: |
    server {
      port = "1" # a comment
    }
  c.txt: text
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: ns, name: app}
spec:
  replicas: 2
  template: {spec: {volumes: [{name: f, configMap: {name: files-bcdfghkmt2}}, {name: e, emptyDir: {}}]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {namespace: ns, name: policy}
`

const helmed = `
apiVersion: v1
kind: ConfigMap
metadata: {namespace: ns, name: files, labels: {helm.sh/chart: c}}
data:
  a.yaml: "{a: 1}"
  b.conf: |
    server { port = "1" }
  c.txt: text
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: ns, name: app, labels: {app.kubernetes.io/instance: r, app.kubernetes.io/managed-by: Helm}}
spec:
  replicas: 2
  template: {metadata: {annotations: {checksum/config: abc}}, spec: {volumes: [{name: e, emptyDir: {}}, {name: f, configMap: {name: files}}]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: policy}
`

func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           []string
	}{
		{"none", "", "", nil},
		{"a number", "replicas: 2", "replicas: 3", []string{`Deployment ns app:.spec.replicas kustomize "2", Helm "3"`}},
		{"a field more", "replicas: 2", "replicas: 2\n  paused: true", []string{`Deployment ns app:.spec.paused kustomize nothing, Helm "true"`}},
		{"a label that is not Helm's", "helm.sh/chart: c", "app: c", []string{`ConfigMap ns files:.metadata.labels kustomize nothing, Helm "map[app:c]"`}},
		{"a file's meaning", `"{a: 1}"`, `"{a: 2}"`, []string{`ConfigMap ns files:.data.a.yaml.a kustomize "1", Helm "2"`}},
		{"a setting", `port = "1"`, `port = "2"`, []string{`ConfigMap ns files:.data.b.conf.server.port kustomize "1", Helm "2"`}},
		{"an element", "[{name: e, emptyDir: {}}, ", "[", []string{
			`Deployment ns app:.spec.template.spec.volumes kustomize "[map[emptyDir:map[] name:e] map[configMap:map[name:files] name:f]]", ` +
				`Helm "[map[configMap:map[name:files] name:f]]"`}},
		{"another name", "name: policy", "name: other", []string{"ValidatingAdmissionPolicy  other: only Helm has it",
			"ValidatingAdmissionPolicy  policy: only kustomize has it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := helmed
			if c.from != "" {
				text = replaced(t, helmed, c.from, c.to)
			}
			kustomize, err := FromKustomize(kustomized)
			if err != nil {
				t.Fatal(err)
			}
			helm, err := FromHelm(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, Differences(kustomize, helm)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
