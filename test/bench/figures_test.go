package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantileIsTheNearestRank(t *testing.T) {
	upTo := func(n int) []int { // backwards: the order of the values must not matter
		var values []int
		for i := n; i > 0; i-- {
			values = append(values, i)
		}
		return values
	}
	tests := map[string]struct {
		values []int
		q      float64
		want   int
	}{
		"nothing":                   {nil, 0.5, 0},
		"one value":                 {[]int{7}, 0.99, 7},
		"median of an odd number":   {upTo(9), 0.5, 5},
		"median of an even number":  {upTo(10), 0.5, 5},
		"p99 of 1000":               {upTo(1000), 0.99, 990},
		"p99 of 10 is the largest":  {upTo(10), 0.99, 10},
		"maximum":                   {upTo(10), 1, 10},
		"below the first rank":      {upTo(10), 0.01, 1},
		"exact rank is not rounded": {upTo(100), 0.25, 25},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := append([]int(nil), tt.values...)
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("quantile(%v) = %d, want %d", tt.q, got, tt.want)
			}
			if diff := cmp.Diff(before, tt.values); diff != "" {
				t.Errorf("the values were changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	values := []seconds{seconds(3 * time.Second), seconds(time.Second), seconds(2 * time.Second)}
	got, err := json.Marshal(spreadOf(values))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"median":2,"max":3,"all":[3,1,2]}`, string(got)); diff != "" {
		t.Errorf("spread (-want +got):\n%s", diff)
	}
}

func TestSecondsInJSON(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                         "0",
		1234567 * time.Nanosecond: "0.0012",
		1500 * time.Millisecond:   "1.5",
	} {
		got, err := json.Marshal(seconds(d))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestRatio(t *testing.T) {
	if got := ratio(90, 100); got != 0.9 {
		t.Errorf("got %v, want 0.9", got)
	}
	if got := ratio(90, 0); got != 0 {
		t.Errorf("with nothing to compare with: got %v, want 0", got)
	}
	if got := perSecond(1000, 4*time.Second); got != 250 {
		t.Errorf("got %v, want 250", got)
	}
}
