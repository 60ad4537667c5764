package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/bench/scale"
)

func TestGrowth(t *testing.T) {
	for want, values := range map[string][]float64{
		"-":      {},
		"× 1.00": {3, 100, 3},
		"× 99.5": {2, 199},
	} {
		if got := growth(values); !strings.HasPrefix(got, want) {
			t.Errorf("of %v: got %s, want %s", values, got, want)
		}
	}
	if got := growth([]float64{0, 1}); got != "-" {
		t.Errorf("from nothing: got %s", got)
	}
}

func TestScaleHasAColumnForEachCluster(t *testing.T) {
	figures := scaleFigures{}
	for i, n := range []int{5, 50} {
		cost := scale.PerOne{CPU: time.Duration(i+1) * time.Millisecond, Bytes: 10 * n, Calls: 0.5}
		figures.Registrar = append(figures.Registrar, scale.RegistrarFigures{
			Size: scale.Of(n), Entries: 50 * n, Pass: cost, Events: []scale.EventFigures{{Event: "a pod comes", PerOne: cost}},
		})
	}
	var out strings.Builder
	printScale(&out, figures)
	for _, want := range []string{
		"nodes\t5\t50\tgrowth\n",
		"entries\t250\t2500\t× 10.00\n",
		"full pass, nothing to do\t1ms, 50 B, 0.5\t2ms, 500 B, 0.5\t× 2.00\n",
		"a pod comes\t1ms, 50 B, 0.5\t2ms, 500 B, 0.5\t× 2.00\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want a line %q", out.String(), want)
		}
	}
}

// What a replica keeps of a pod is a small part of it, since replicas share what is alike in them.
func TestKeptOfAPodIsSmall(t *testing.T) {
	kept, err := keptOf(scale.Size{Pods: 400, Workloads: 20})
	if err != nil {
		t.Fatal(err)
	}
	if kept.Stored == 0 || kept.Held > 4_000 {
		t.Errorf("got %d bytes kept of %d, want at most 4000 of a pod that is stored with its configuration", kept.Held, kept.Stored)
	}
}
