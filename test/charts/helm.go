package charts

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// added are the labels that a chart gives to each object, and the annotations that roll pods.
var (
	addedLabels      = []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/chart"}
	addedAnnotations = []string{"checksum/config", "checksum/spire"}
)

// FromHelm are the objects of a chart without what Helm has to add, and with files in ConfigMaps by their meaning. It
// adds labels, annotations that roll pods, and the serving certificate, which with kustomize a command makes.
func FromHelm(manifests string) (Objects, error) {
	objects, err := Decode(manifests)
	if err != nil {
		return nil, err
	}
	for key, object := range objects {
		if object.GetKind() == "Secret" && object.Object["data"] != nil {
			delete(objects, key)
			continue
		}
		webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
		for i := range webhooks {
			delete(webhooks[i].(map[string]any)["clientConfig"].(map[string]any), "caBundle")
		}
		if len(webhooks) > 0 {
			object.Object["webhooks"] = webhooks
		}
		for _, label := range addedLabels {
			without(object, "metadata", "labels", label)
		}
		for _, annotation := range addedAnnotations {
			without(object, "spec", "template", "metadata", "annotations", annotation)
		}
		if err := readFiles(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}
