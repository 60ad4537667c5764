package monitoring

import (
	"math"
	"testing"
)

func TestFlat(t *testing.T) {
	t.Parallel()
	series := func(n int, at func(i int) float64) (values []float64) {
		for i := range n {
			values = append(values, at(i))
		}
		return values
	}
	tests := []struct {
		name          string
		values        []float64
		first, second float64
		flat          bool
	}{
		{"constant", series(20, func(int) float64 { return 100 }), 100, 100, true},
		{"a saw", series(40, func(i int) float64 { return 100 + 50*float64(i%5) }), 200, 200, true},
		{"a peak", series(20, func(i int) float64 {
			if i == 15 {
				return 1e6
			}
			return 100
		}), 100, 100, true},
		{"falling", series(20, func(i int) float64 { return 100 - float64(i) }), 95.5, 85.5, true},
		{"up within the allowance", series(20, func(i int) float64 { return 100 + float64(i) }), 104.5, 114.5, true},
		{"up beyond it", series(20, func(i int) float64 { return 100 + 2*float64(i) }), 109, 129, false},
		{"a step", series(20, func(i int) float64 { return 100 + 20*float64(i/10) }), 100, 120, false},
		{"no numbers", series(20, func(int) float64 { return math.NaN() }), math.NaN(), math.NaN(), false},
		{"too few", series(Fewest-1, func(int) float64 { return 100 }), 0, 0, false},
	}
	for _, test := range tests {
		first, second, err := Flat(test.values, Allowance{Share: 0.1, Extra: 5})
		same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
		if !same(first, test.first) || !same(second, test.second) || (err == nil) != test.flat {
			t.Errorf("%s: got %g, %g and %v, want %g, %g and flat %t", test.name, first, second, err, test.first, test.second, test.flat)
		}
	}
}
