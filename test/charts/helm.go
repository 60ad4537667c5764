package charts

// added are the labels that a chart gives to each object, and the annotations that roll pods.
var (
	addedLabels      = []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/chart"}
	addedAnnotations = []string{"checksum/config", "checksum/spire"}
)

// FromHelm are the objects of a chart without what Helm has to add, and with files in ConfigMaps by their meaning.
func FromHelm(manifests string) (Objects, error) {
	objects, err := Decode(manifests)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
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
