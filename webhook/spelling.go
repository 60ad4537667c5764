package webhook

import (
	"fmt"

	"github.com/agnivade/levenshtein"
)

// didYouMean names the candidate nearest to what was written, or nothing when none is near.
func didYouMean(written string, candidates ...string) string {
	best, distance := "", max(2, len(written)/4)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(written, c); d < distance {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}
