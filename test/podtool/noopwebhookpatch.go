package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// alwaysAnswer allows every request, with the patch if it is not nil. The patch is sent as it was read: nothing is left
// to do for a request.
func alwaysAnswer(patch []byte) admission.HandlerFunc {
	return func(context.Context, admission.Request) admission.Response {
		response := admission.Allowed("")
		if patch != nil {
			response.Patch, response.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
		}
		return response
	}
}

// readPatch reads a JSON patch. Without a file there is none, which is nil.
func readPatch(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	patch, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := checkPatch(patch); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return patch, nil
}

// checkPatch finds what is no JSON patch at all, and leaves the rest to the API server: it alone knows the object.
func checkPatch(patch []byte) error {
	const expected = `expected a JSON patch such as [{"op": "add", "path": "/metadata/labels/a", "value": "b"}]`
	var operations []struct {
		Op   string  `json:"op"`
		Path *string `json:"path"` // an empty one is the whole object
	}
	if err := json.Unmarshal(patch, &operations); err != nil {
		return fmt.Errorf("%s: %w", expected, err)
	}
	if len(operations) == 0 {
		return fmt.Errorf("%s, got no operations", expected)
	}
	for i, o := range operations {
		if o.Op == "" || o.Path == nil {
			return fmt.Errorf("%s, got an operation without op or path at index %d", expected, i)
		}
	}
	return nil
}
