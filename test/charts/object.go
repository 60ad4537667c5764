package charts

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/install"
)

// Objects are manifests by kind, namespace and name.
type Objects map[string]unstructured.Unstructured

// Decode reads the documents of rendered manifests. Two for one object are an error.
func Decode(manifests string) (Objects, error) {
	documents, err := install.Decode(manifests)
	if err != nil {
		return nil, err
	}
	out := Objects{}
	for _, object := range documents {
		if len(object.Object) == 0 {
			continue // a document of comments
		}
		if err := out.add(object); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o Objects) add(object unstructured.Unstructured) error {
	key := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
	if _, twice := o[key]; twice {
		return fmt.Errorf("%s is there twice", key)
	}
	o[key] = object
	return nil
}
