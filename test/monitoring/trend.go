package monitoring

import (
	"fmt"
	"math"
	"slices"
)

// Allowance is by how much the second half of a series may exceed the first: by Share of it (0.1 is a tenth), and by
// Extra besides.
type Allowance struct {
	Share, Extra float64
}

// Flat compares the medians of a series' halves, of which single peaks move neither, and returns them. The error says
// why the series is not flat: the second half's median exceeds the first's by more than is allowed, or there are fewer
// than Fewest values.
func Flat(values []float64, a Allowance) (first, second float64, err error) {
	if len(values) < Fewest {
		return 0, 0, fmt.Errorf("expected %d measurements and more, got %d: that says nothing", Fewest, len(values))
	}
	half := len(values) / 2
	first, second = median(values[:half]), median(values[half:])
	if most := first*(1+a.Share) + a.Extra; !(second <= most) { // not a number is not flat
		return first, second, fmt.Errorf("grows: from a median of %.6g in the first half to %.6g in the second, at most %.6g is expected", first, second, most)
	}
	return first, second, nil
}

// Fewest is how many measurements a series needs.
const Fewest = 10

// median is NaN when a value is.
func median(values []float64) float64 {
	if slices.ContainsFunc(values, math.IsNaN) {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
