package main

import "testing"

func TestRolloutRate(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]float64{"1": 1, "0": 0, "0.2": 0.2, "10/s": 10} {
		if got, err := parseRolloutRate(flag); err != nil || got != want {
			t.Errorf("%q: expected %g, got %g, %v", flag, want, got, err)
		}
	}
	for _, flag := range []string{"", "fast", "-1", "11", "NaN", "Inf", "1/m", "/s"} {
		if got, err := parseRolloutRate(flag); err == nil {
			t.Errorf("%q: expected an error, got %g", flag, got)
		}
	}
}
