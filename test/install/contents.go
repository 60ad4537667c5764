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

// contentAnnotation names what a Deployment's images hold, so that a program which changed under one name rolls its
// pods.
const contentAnnotation = "test.spire-injector/image-content"

// Decode reads the documents of rendered manifests.
func Decode(manifests string) ([]unstructured.Unstructured, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	var out []unstructured.Unstructured
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decoding rendered manifests: %w", err)
		}
		out = append(out, object)
	}
}

// withContents annotates the pod templates of Deployments that run images of the environment, and returns all objects
// as text.
func withContents(env environment.Environment, objects []unstructured.Unstructured) (string, error) {
	var out strings.Builder
	for _, object := range objects {
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
	return out.String(), nil
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
