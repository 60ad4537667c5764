package charts

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// Objects are manifests by kind, namespace and name.
type Objects map[string]unstructured.Unstructured

// Decode reads the documents of rendered manifests. Two for one object are an error.
func Decode(manifests string) (Objects, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	out := Objects{}
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decoding rendered manifests: %w", err)
		}
		if len(object.Object) == 0 {
			continue // a document of comments
		}
		if err := out.add(object); err != nil {
			return nil, err
		}
	}
}

func (o Objects) add(object unstructured.Unstructured) error {
	key := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
	if _, twice := o[key]; twice {
		return fmt.Errorf("%s is there twice", key)
	}
	o[key] = object
	return nil
}
