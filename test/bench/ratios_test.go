package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRatiosAreOfNeighbours(t *testing.T) {
	rounds := []map[string]creation{
		{"noop": {load: load{PerSecond: 400}}, "constant": {load: load{PerSecond: 200}}, "ours": {load: load{PerSecond: 190}}},
		{"noop": {load: load{PerSecond: 100}}, "constant": {load: load{PerSecond: 50}}, "ours": {load: load{PerSecond: 40}}},
		{"noop": {load: load{PerSecond: 200}}, "constant": {load: load{PerSecond: 100}}, "ours": {load: load{PerSecond: 90}}},
	}
	got := ratiosOf(rounds, ours(), patchingConstantly())
	if diff := cmp.Diff(ratios{Median: 0.9, All: []float64{0.95, 0.8, 0.9}}, got); diff != "" {
		t.Errorf("ratios (-want +got):\n%s", diff)
	}
	if text, want := got.String(), "90.0 % (median of 95.0 %, 80.0 %, 90.0 %)"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}
