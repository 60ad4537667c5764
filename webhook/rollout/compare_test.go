package rollout

import (
	"testing"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// What pods follow in their namespace are our labels and annotations, and no others.
func TestVersionOfNamespace(t *testing.T) {
	t.Parallel()
	ns := func(label, annotation string) intent.Namespace {
		return intent.Namespace{
			Name: "a", Labels: map[string]string{label: "x"}, Annotations: map[string]string{annotation: "x"},
		}
	}
	plain := versionOf(ns("app", "owner"))
	if versionOf(ns("team", "contact")) != plain || versionOf(intent.Namespace{Name: "b"}) != plain {
		t.Error("what others write makes another version")
	}
	labelled, annotated := versionOf(ns(intent.LabelInject, "owner")), versionOf(ns("app", intent.AnnotationAllowedPeers))
	if labelled == plain || annotated == plain || labelled == annotated {
		t.Errorf("expected three versions, got %s, %s, %s", plain, labelled, annotated)
	}
}
