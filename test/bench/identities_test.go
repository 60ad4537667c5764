package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Service accounts and nodes take turns, and what each contender is waited for follows from it.
func TestIdentitiesOfABurst(t *testing.T) {
	for _, tt := range []struct {
		burst   burst
		pods    []string
		entries []int // of each contender
	}{
		{burst{pods: 5, accounts: 1}, []string{"account-0 on node-0", "account-0 on node-1"}, []int{1 + 2, 1 + 1, 5}},
		{
			burst{pods: 3, accounts: 3},
			[]string{"account-0 on node-0", "account-1 on node-1", "account-2 on node-0"},
			[]int{3 + 3, 3 + 3, 3},
		},
		{burst{pods: 1, accounts: 1}, []string{"account-0 on node-0"}, []int{1 + 1, 1 + 1, 1}},
	} {
		var pods []string
		for _, p := range tt.burst.podsOf("shop") {
			pods = append(pods, fmt.Sprintf("%s on %s", p.Spec.ServiceAccountName, p.Spec.NodeName))
		}
		if diff := cmp.Diff(tt.pods, pods); diff != "" {
			t.Errorf("%+v: pods (-want +got):\n%s", tt.burst, diff)
		}
		for i, c := range contenders() {
			if got := c.entries(tt.burst.pods, tt.burst.accounts, len(pods)); got != tt.entries[i] {
				t.Errorf("%+v by %s: got %d entries, want %d", tt.burst, c.name, got, tt.entries[i])
			}
		}
	}
}
