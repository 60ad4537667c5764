package install

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
)

// contentAnnotation names what a Deployment's images hold, so that a program which changed under one name rolls its pods.
const contentAnnotation = "test.spire-injector/image-content"

// withContents annotates the pod templates of Deployments that run images of the environment.
func withContents(env environment.Environment, manifests string) (string, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	var out strings.Builder
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return out.String(), nil
		}
		if err != nil {
			return "", fmt.Errorf("decoding rendered manifests: %w", err)
		}
		if object.GetKind() == "Deployment" {
			if err := annotate(env, object.Object); err != nil {
				return "", fmt.Errorf("deployment %s: %w", object.GetName(), err)
			}
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return "", err
		}
		out.WriteString("---\n" + string(text))
	}
}

func annotate(env environment.Environment, deployment map[string]any) error {
	containers, _, err := unstructured.NestedSlice(deployment, "spec", "template", "spec", "containers")
	if err != nil {
		return err
	}
	var contents []string
	for _, c := range containers {
		image, _, err := unstructured.NestedString(c.(map[string]any), "image")
		if err != nil {
			return err
		}
		if content := env.Contents[image]; content != "" {
			contents = append(contents, content)
		}
	}
	return unstructured.SetNestedField(deployment, strings.Join(contents, " "), "spec", "template", "metadata", "annotations", contentAnnotation)
}
