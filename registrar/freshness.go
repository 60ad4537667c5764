package registrar

import "time"

// Between two tries while a bundle cannot be fetched.
const (
	minRefreshRetry = time.Second
	maxRefreshRetry = time.Minute
)

// staleAfter is after how many intervals without a fetch a bundle is stale: one that fails, and its retries, are no
// news.
const staleAfter = 3

// Freshness is how the bundle of one trust domain has been kept.
type Freshness struct {
	// Interval is the time between two fetches.
	Interval time.Duration
	// Fetched is when SPIRE last fetched the bundle; before the first time, since when it has been tried.
	Fetched time.Time
	// Tried is when the last try ended, and Failures how many have failed since the last that did not.
	Tried    time.Time
	Failures int
}

// Stale says that the bundle has not been fetched for so long that its trust domain may have changed its keys
// meanwhile.
func (f Freshness) Stale(now time.Time) bool { return now.Sub(f.Fetched) > staleAfter*f.Interval }

// Next is when to fetch again: after the interval, and after failures sooner. A spread from 0 to 1 makes it up to a
// tenth earlier or later, so that what has one interval does not stay in step.
func (f Freshness) Next(spread float64) time.Time {
	wait := f.Interval
	if f.Failures > 0 {
		wait = min(minRefreshRetry<<min(f.Failures-1, 6), maxRefreshRetry, f.Interval)
	}
	return f.Tried.Add(wait*9/10 + time.Duration(spread*float64(wait/5)))
}

// After is the freshness after a try that ended at that time.
func (f Freshness) After(now time.Time, err error) Freshness {
	f.Tried = now
	if err != nil {
		f.Failures++
		return f
	}
	f.Fetched, f.Failures = now, 0
	return f
}
