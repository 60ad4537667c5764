package main

import (
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

func TestSizesAreThoseOfTheAnnotations(t *testing.T) {
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	injector, err := demoInjector(root)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := demoPod(root, "api")
	if err != nil {
		t.Fatal(err)
	}
	got, err := sizeOf(injector, "api", pod)
	if err != nil {
		t.Fatal(err)
	}
	result, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for key, value := range result.Pod.Annotations {
		if _, users := pod.Annotations[key]; !users {
			all += len(value)
		}
	}
	if got.Annotations != all || all == 0 {
		t.Errorf("the figures add up to %d, the generated annotations have %d", got.Annotations, all)
	}
	if got.Patch <= all {
		t.Errorf("the patch has %d bytes, fewer than the %d of the annotations that it brings", got.Patch, all)
	}
}

func TestWhatDoesNotFitIsRefusedAndTold(t *testing.T) {
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	injector, err := demoInjector(root)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := clientOfMany(1)
	if err != nil {
		t.Fatal(err)
	}
	pod.Annotations["example.org/long"] = strings.Repeat("x", 256<<10)
	got, err := sizeOf(injector, "many", pod)
	if err != nil || got.Annotations != 0 || !strings.Contains(got.Refused, "expected at most 262144 bytes") {
		t.Errorf("got %+v and error %v, want a refusal for its size", got, err)
	}
}
