package intent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// withHint adds the nearest of some candidates to an error about what was written.
func withHint(err error, written string, candidates ...string) error {
	hint := didYouMean(written, candidates...)
	if err == nil || hint == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}

// expectOneOf is the error of what is none of the allowed values.
func expectOneOf(written string, allowed ...string) error {
	if slices.Contains(allowed, written) {
		return nil
	}
	return withHint(fmt.Errorf("expected %s, got %q", strings.Join(allowed, " or "), written), written, allowed...)
}

// didYouMean names the candidate nearest to what was written, or nothing when none is near.
func didYouMean(written string, candidates ...string) string {
	best := Nearest(written, candidates...)
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// Nearest is the candidate that was probably meant by what was written, empty when none is near.
func Nearest(written string, candidates ...string) string {
	best, distance := "", max(2, len(written)/4)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(written, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}
