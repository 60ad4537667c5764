package offline

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

// Object is one Kubernetes object of a YAML stream.
type Object struct {
	Where string // for messages, such as "document 2, items[0] (Deployment api)"
	Kind  string // such as "apps/v1/Deployment"
	JSON  json.RawMessage
}

// Objects are those of a YAML stream, also inside lists. The error names every document that cannot be read, and every
// label and annotation of a pod that is no text.
func Objects(input []byte) ([]Object, error) {
	var out []Object
	var errs []error
	for _, d := range split(input) {
		if d.err != nil {
			errs = append(errs, d.err)
			continue
		}
		all, err := objects(d)
		errs = append(errs, err)
		for _, o := range all {
			if pointer, hasPod := inject.PodPointer(o.kind()); hasPod {
				if hasNoTemplate(o, pointer) {
					continue
				}
				raw, err := inject.At(o.json, pointer)
				if err == nil {
					err = unquoted(raw)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s:%s", o, mistakes(err)))
					continue
				}
			}
			out = append(out, Object{Where: o.String(), Kind: o.kind(), JSON: o.json})
		}
	}
	return out, errors.Join(errs...)
}
