package kubectl

import (
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/validation"
)

// factory is kubectl's own, but for the question whether the server validates fields, to which kubectl reads all that
// OpenAPI says of a kind's group with each object. Every server of the tests does, as any does since Kubernetes 1.27;
// that it shall is said to it all the same.
type factory struct{ cmdutil.Factory }

func (factory) Validator(string) (validation.Schema, error) { return validation.NullSchema{}, nil }
