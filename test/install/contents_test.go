package install

import (
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
)

func TestContentsRollDeploymentsAlone(t *testing.T) {
	const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: injector}
spec: {template: {spec: {containers: [{name: a, image: injector:dev}, {name: b, image: other}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: injector}
`
	env := environment.Environment{Contents: map[string]string{"injector:dev": "injector-1"}}
	objects, err := Decode(manifests)
	if err != nil {
		t.Fatal(err)
	}
	got, err := withContents(env, objects)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(got, contentAnnotation) != 1 || !strings.Contains(got, contentAnnotation+": injector-1\n") {
		t.Errorf("expected one annotation, on the Deployment's template, got\n%s", got)
	}
	if !strings.Contains(got, "kind: Service") {
		t.Errorf("the Service is gone:\n%s", got)
	}
}
