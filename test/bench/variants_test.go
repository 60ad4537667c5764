package main

import (
	"testing"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// One pod must not be seen by two webhooks, and none of the bench's by the injector.
func TestVariantsAreToldApart(t *testing.T) {
	type label struct{ key, value string }
	labels, names, webhooks := map[label]bool{}, map[string]bool{}, map[string]bool{}
	for _, v := range variants() {
		labels[label{v.label, v.value}], names[v.name] = true, true
		if v.webhook != "" {
			if webhooks[v.webhook] {
				t.Errorf("%s: another variant has the webhook %s too", v.name, v.webhook)
			}
			webhooks[v.webhook] = true
		}
		if v != ours() {
			decision, err := intent.Decide(intent.Namespace{Name: "bench"}, pendingPod("bench", v))
			if err != nil || decision.Inject {
				t.Errorf("%s: expected the injector to leave its pods alone, got %+v and error %v", v.name, decision, err)
			}
		}
	}
	if n := len(variants()); len(labels) != n || len(names) != n {
		t.Errorf("of %d variants expected as many labels and names, got %d and %d", n, len(labels), len(names))
	}
}
