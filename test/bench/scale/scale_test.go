package scale

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSizes(t *testing.T) {
	for nodes, want := range map[int]Size{
		1:   {Nodes: 4, Pods: 160, Workloads: 40}, // fewer could not hold a workload's replicas
		5:   {Nodes: 5, Pods: 200, Workloads: 50},
		500: {Nodes: 500, Pods: 20_000, Workloads: 5_000},
	} {
		if diff := cmp.Diff(want, Of(nodes)); diff != "" {
			t.Errorf("%d nodes (-want +got):\n%s", nodes, diff)
		}
	}
}

// Replicas share no node, so that each has a row of its own.
func TestReplicasAreOnDifferentNodes(t *testing.T) {
	size, n := Of(5), 0
	on := map[int]map[string]bool{}
	size.pods(1, func(p pod) {
		n++
		if on[p.workload] == nil {
			on[p.workload] = map[string]bool{}
		}
		on[p.workload][size.node(p)] = true
	})
	if n != size.Pods || len(on) != size.Workloads {
		t.Errorf("got %d pods of %d workloads, want %d of %d", n, len(on), size.Pods, size.Workloads)
	}
	for w, nodes := range on {
		if len(nodes) != replicas {
			t.Errorf("workload %d is on %d nodes, want %d", w, len(nodes), replicas)
		}
	}
}

func TestPages(t *testing.T) {
	for entries, want := range map[int]int{0: 1, 1: 2, 500: 2, 501: 3, 25_000: 51} {
		if got := pagesOf(entries, 500); got != want {
			t.Errorf("%d entries: got %d requests, want %d", entries, got, want)
		}
	}
}

func TestCostOfOne(t *testing.T) {
	got := Cost{CPU: 10 * time.Millisecond, Bytes: 4096, Calls: 2}.per(4)
	if diff := cmp.Diff(PerOne{CPU: 2500 * time.Microsecond, Bytes: 1024, Calls: 0.5}, got); diff != "" {
		t.Errorf("cost (-want +got):\n%s", diff)
	}
	if got := (Cost{CPU: time.Second}).per(0); got != (PerOne{}) {
		t.Errorf("of nothing: got %v", got)
	}
}

// Entries and calls do not depend on the machine.
func TestRegistrarOfASmallCluster(t *testing.T) {
	size := Of(8)
	got, err := Registrar(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	type counts struct{ Entries, Start, Peak int }
	want := counts{
		Entries: size.Workloads + size.Pods,
		Start:   1 + 1 + 2, // bundles, an empty page, two batches of 200
		// The new pods are on the four other nodes; the workload that came and went, and the pods that did, are not
		// forgotten before the grace time is over.
		Peak: size.Workloads + 2*size.Pods + 2*eventsOfAKind,
	}
	if diff := cmp.Diff(want, counts{got.Entries, got.Start.Calls, got.Peak}); diff != "" {
		t.Errorf("entries and calls (-want +got):\n%s", diff)
	}
	if got.Pass.Calls != 3 { // bundles, a page of 400 and an empty one
		t.Errorf("a pass without work: got %v calls, want 3", got.Pass.Calls)
	}
	calls := map[string]float64{}
	for _, e := range got.Events {
		calls[e.Event] = e.Calls
	}
	if diff := cmp.Diff(map[string]float64{
		"a pod's status changes":                       0,
		"a workload has one pod more, on another node": 1,
		"that pod goes":                                0, // its row waits for the grace time
		"a workload is new":                            1,
		"that workload goes":                           1,
	}, calls); diff != "" {
		t.Errorf("calls of events (-want +got):\n%s", diff)
	}
}

func TestRolloutKeepsToTheRate(t *testing.T) {
	size := Of(5)
	got, err := Rollout(size)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Duration(size.Pods-1) * time.Second / rolloutRate; got.Took < want || got.Took > want+time.Second {
		t.Errorf("%d pods at %d a second: got %s, want %s", size.Pods, rolloutRate, got.Took, want)
	}
}
