package main

import (
	"fmt"
	"strings"
)

// ratios compare the pods per second of two variants, round by round.
type ratios struct {
	Median float64   `json:"median"`
	All    []float64 `json:"all"`
}

func ratiosOf(rounds []map[string]creation, of, to variant) ratios {
	var all []float64
	for _, round := range rounds {
		all = append(all, ratio(round[of.name].PerSecond, round[to.name].PerSecond))
	}
	return ratios{Median: median(all), All: all}
}

// String is for people.
func (r ratios) String() string {
	var each []string
	for _, one := range r.All {
		each = append(each, fmt.Sprintf("%.1f %%", 100*one))
	}
	return fmt.Sprintf("%.1f %% (median of %s)", 100*r.Median, strings.Join(each, ", "))
}
