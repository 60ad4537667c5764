package servingcert

import (
	"context"
	"encoding/json"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kinds are the objects that register webhooks. Those of one name belong together; either may be missing.
func Kinds() []client.Object {
	return []client.Object{
		&admissionregistrationv1.MutatingWebhookConfiguration{},
		&admissionregistrationv1.ValidatingWebhookConfiguration{},
	}
}

// Read returns the webhooks that the configurations of a name register.
func Read(ctx context.Context, reader client.Reader, name string) ([]Registered, error) {
	var out []Registered
	for _, object := range Kinds() {
		err := reader.Get(ctx, client.ObjectKey{Name: name}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the webhook configuration %s: %w", name, err)
		}
		out = append(out, registered(object)...)
	}
	return out, nil
}

func registered(object client.Object) []Registered {
	var out []Registered
	switch configuration := object.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for _, w := range configuration.Webhooks {
			out = append(out, Registered{Webhook: w.Name, CABundle: w.ClientConfig.CABundle})
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for _, w := range configuration.Webhooks {
			out = append(out, Registered{Webhook: w.Name, CABundle: w.ClientConfig.CABundle})
		}
	}
	return out
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchBundles changes nothing but bundles, by the webhook's index, and only in the version that was read. It says
// whether there was something to change.
func patchBundles(ctx context.Context, c client.Client, object client.Object, bundles map[int][]byte) (bool, error) {
	if len(bundles) == 0 {
		return false, nil
	}
	operations := []operation{{"test", "/metadata/resourceVersion", object.GetResourceVersion()}}
	for i, bundle := range bundles {
		operations = append(operations, operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), bundle})
	}
	data, err := json.Marshal(operations)
	if err != nil {
		return false, err
	}
	if err := c.Patch(ctx, object, client.RawPatch(types.JSONPatchType, data)); err != nil {
		return false, fmt.Errorf("writing the CA into the webhook configuration %s: %w", object.GetName(), err)
	}
	return true, nil
}
