package main

import (
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook/inject"
)

// A replica is answered as the first pod of its workload, so that both are measured at the same.
func TestAnswersAreTheSame(t *testing.T) {
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	injector, err := demoInjector(root)
	if err != nil {
		t.Fatal(err)
	}
	review, err := reviewOf(askedPod("demo"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := asking(t.Context(), injector, "demo", review)()
	if err != nil {
		t.Fatal(err)
	}
	injector.Decisions = inject.NewDecisions()
	ask := asking(t.Context(), injector, "demo", review)
	for range 2 {
		if replica, err := ask(); err != nil || string(replica) != string(first) {
			t.Errorf("expected the patch of the first pod\n%s\ngot\n%s (%v)", first, replica, err)
		}
	}
	if _, err := asking(t.Context(), injector, "another", review)(); err == nil {
		t.Error("a review that is denied: expected an error")
	}
}
