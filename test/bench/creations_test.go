package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInTurn(t *testing.T) {
	items := []string{"a", "b", "c"}
	for round, want := range [][]string{{"a", "b", "c"}, {"b", "c", "a"}, {"c", "a", "b"}, {"a", "b", "c"}} {
		if diff := cmp.Diff(want, inTurn(items, round)); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", round, diff)
		}
	}
}
