package rollout

import (
	"strings"
	"testing"

	"golang.org/x/time/rate"
)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rate.Limit{DefaultRate: 1, "0": 0, "0.2": 0.2, "10/s": 10, "10": 10} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q: expected %g, got %g, %v", text, want, got, err)
		}
	}
	for _, text := range []string{"", "fast", "-1", "-0.1", "10.1", "11", "NaN", "Inf", "1/m", "/s"} {
		if got, err := ParseRate(text); err == nil ||
			!strings.Contains(err.Error(), "from 0 to 10, such as 0.5 or 10/s, got") {
			t.Errorf("%q: expected an error, got %g, %v", text, got, err)
		}
	}
}
