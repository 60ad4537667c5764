package charts

import (
	"slices"
	"testing"
)

// requiredOfSCC is what OpenShift's API wants in every SecurityContextConstraints, besides what every object has.
var requiredOfSCC = []string{
	"allowHostDirVolumePlugin", "allowHostIPC", "allowHostNetwork", "allowHostPID", "allowHostPorts", "allowPrivilegedContainer",
	"allowedCapabilities", "defaultAddCapabilities", "priority", "readOnlyRootFilesystem", "requiredDropCapabilities", "volumes",
}

// No API server of ours knows this kind. Its fields are told from misspelt ones by nothing but reading.
func TestOpenShiftGetsWhatItRequires(t *testing.T) {
	all := Variants()
	v := all[slices.IndexFunc(all, func(v Variant) bool { return v.Name == "SPIRE openshift" })]
	rendered, err := render(t.Context(), v.Chart, v.Namespace, v.Values)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Decode(rendered)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for key, object := range objects {
		if object.GetKind() != "SecurityContextConstraints" {
			continue
		}
		found++
		for _, field := range requiredOfSCC {
			if value, ok := object.Object[field]; !ok || value == nil {
				t.Errorf("%s: expected the field %s, found none", key, field)
			}
		}
	}
	if found != 2 {
		t.Errorf("expected the constraints of agent and driver, got %d", found)
	}
}
