package rollout

import (
	"testing"

	"github.com/spire-injector/spire-injector/webhook"
)

// What pods follow in their namespace are our labels and annotations, and no others.
func TestVersionOfNamespace(t *testing.T) {
	t.Parallel()
	ns := func(label, annotation string) webhook.Namespace {
		return webhook.Namespace{
			Name: "a", Labels: map[string]string{label: "x"}, Annotations: map[string]string{annotation: "x"},
		}
	}
	plain := versionOf(ns("app", "owner"))
	if versionOf(ns("team", "contact")) != plain || versionOf(webhook.Namespace{Name: "b"}) != plain {
		t.Error("what others write makes another version")
	}
	labelled, annotated := versionOf(ns(webhook.LabelInject, "owner")), versionOf(ns("app", webhook.AnnotationAllowedPeers))
	if labelled == plain || annotated == plain || labelled == annotated {
		t.Errorf("expected three versions, got %s, %s, %s", plain, labelled, annotated)
	}
}
