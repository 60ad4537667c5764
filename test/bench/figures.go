package main

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// seconds is a duration as it is printed: in JSON a number of seconds, to the tenth of a millisecond.
type seconds time.Duration

// MarshalJSON implements [json.Marshaler].
func (s seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(math.Round(time.Duration(s).Seconds()*1e4) / 1e4)
}

// quantile is the smallest value that at least the fraction q of all values does not exceed ("nearest rank"), so that
// it is always one that was measured; zero without values. q is in (0, 1].
func quantile[T int | float64 | seconds](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func median[T int | float64 | seconds](values []T) T { return quantile(values, 0.5) }

// spread is what is told of repeated measurements.
type spread struct {
	Median seconds   `json:"median"`
	Max    seconds   `json:"max"`
	All    []seconds `json:"all"`
}

func spreadOf(values []seconds) spread {
	return spread{Median: median(values), Max: quantile(values, 1), All: values}
}

// ratio is a / b, and zero when there is no b to compare with.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// perSecond is how many of n there were each second.
func perSecond(n int, took time.Duration) float64 { return ratio(float64(n), took.Seconds()) }
