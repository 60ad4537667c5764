package rollout

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/time/rate"
)

// DefaultRate is that of an injector whose operator says nothing.
const DefaultRate = "1"

// maxRate is what one replica can do, which changes one pod after the other.
const maxRate = 10

// ParseRate reads how many pods a second may be changed, with or without "/s". 0 is none.
func ParseRate(text string) (rate.Limit, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "/s"), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxRate {
		return 0, fmt.Errorf("expected pods per second from 0 to %d, such as 0.5 or 10/s, got %q", maxRate, text)
	}
	return rate.Limit(n), nil
}
