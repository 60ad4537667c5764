package charts

import (
	"fmt"
	"path"

	"github.com/hashicorp/hcl"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// readFiles puts what files of a ConfigMap mean in the place of their text: comments, order and white space mean
// nothing.
func readFiles(object unstructured.Unstructured) error {
	if object.GetKind() != "ConfigMap" {
		return nil
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil || data == nil {
		return err
	}
	files := map[string]any{}
	for name, text := range data {
		if files[name], err = meaning(name, text); err != nil {
			return fmt.Errorf("ConfigMap %s: %s: %w", object.GetName(), name, err)
		}
	}
	object.Object["data"] = files
	return nil
}

// meaning is a file decoded by the ending of its name; of others it is the text.
func meaning(name, text string) (any, error) {
	var decoded any
	switch path.Ext(name) {
	case ".yaml", ".json":
		err := yaml.Unmarshal([]byte(text), &decoded)
		return decoded, err
	case ".conf":
		err := hcl.Unmarshal([]byte(text), &decoded)
		return decoded, err
	default:
		return text, nil
	}
}
