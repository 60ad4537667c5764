package main

import (
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxFailures bounds the failures that a report describes one by one. All of them are counted.
const maxFailures = 20

// loadResult is the answer to one request of the load.
type loadResult struct {
	answer
	URL  string
	Slow bool
}

// loadTally collects results from many goroutines.
type loadTally struct {
	mu      sync.Mutex
	results []loadResult
	failed  int
}

func (t *loadTally) add(result loadResult) {
	if !result.failed() {
		result.Body = "" // of successes only the numbers are reported
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.results = append(t.results, result)
	if result.failed() {
		t.failed++
	}
}

func (t *loadTally) counts() (total, failed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.results), t.failed
}

func (t *loadTally) report() loadReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	return newLoadReport(t.results)
}

// loadReport is what `load -o json` prints.
type loadReport struct {
	// From is the start of the first request, To the end of the last.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Total counts every request that was started, slow ones included.
	Total  int `json:"total"`
	Failed int `json:"failed"`
	Slow   int `json:"slow"`
	// Connections counts the requests that went out on a new connection.
	Connections int `json:"connections"`
	// ByStatus has the key "answered" for complete answers of protocols without a status, and "error"
	// for requests without a complete answer.
	ByStatus map[string]int `json:"byStatus"`
	// ByPod counts the answers by the name of the server, where an answer has one.
	ByPod map[string]int `json:"byPod,omitempty"`
	// ByURL has the same numbers for each URL.
	ByURL map[string]*urlCounts `json:"byURL"`
	// Latency is of the requests that were not slow by intention, SlowLatency of those.
	Latency     latencies  `json:"latency"`
	SlowLatency *latencies `json:"slowLatency,omitempty"`
	// FirstFailures are at most maxFailures, in the order in which they were sent.
	FirstFailures []loadFailure `json:"firstFailures"`
	// LongestFailureRun is the longest series of failures without a success between them, in the
	// order in which the requests were sent; absent when nothing failed.
	LongestFailureRun *failureRun `json:"longestFailureRun,omitempty"`
}

// urlCounts are of one URL's requests.
type urlCounts struct {
	Total       int            `json:"total"`
	Failed      int            `json:"failed"`
	Connections int            `json:"connections"`
	ByPod       map[string]int `json:"byPod,omitempty"`
	// LastAnswered is when the last request began that did not fail; zero if all did.
	LastAnswered time.Time `json:"lastAnswered,omitzero"`
}

// latencies are milliseconds, by nearest rank.
type latencies struct {
	P50 float64 `json:"p50ms"`
	P99 float64 `json:"p99ms"`
	Max float64 `json:"maxms"`
}

type loadFailure struct {
	Time   time.Time `json:"time"`
	URL    string    `json:"url"`
	Status int       `json:"status,omitempty"`
	Body   string    `json:"body,omitempty"`
	Error  string    `json:"error,omitempty"`
	// LatencyMS is how long it took to fail.
	LatencyMS float64 `json:"latencyms"`
}

type failureRun struct {
	Requests int `json:"requests"`
	// From is the start of the first failed request, To the end of the one that ended last.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func newLoadReport(results []loadResult) loadReport {
	results = slices.SortedStableFunc(slices.Values(results), func(a, b loadResult) int { return a.Started.Compare(b.Started) })
	report := loadReport{
		Total:             len(results),
		ByStatus:          map[string]int{},
		ByPod:             map[string]int{},
		ByURL:             map[string]*urlCounts{},
		FirstFailures:     []loadFailure{},
		LongestFailureRun: longestFailureRun(results),
	}
	var ordinary, slow []time.Duration
	for _, result := range results {
		report.ByStatus[result.statusText()]++
		url := report.ByURL[result.URL]
		if url == nil {
			url = &urlCounts{ByPod: map[string]int{}}
			report.ByURL[result.URL] = url
		}
		url.Total++
		if result.Pod != "" {
			report.ByPod[result.Pod]++
			url.ByPod[result.Pod]++
		}
		if !result.Reused {
			report.Connections++
			url.Connections++
		}
		if result.Slow {
			slow = append(slow, result.Latency)
		} else {
			ordinary = append(ordinary, result.Latency)
		}
		if end := result.end(); end.After(report.To) {
			report.To = end
		}
		if result.failed() {
			report.Failed++
			url.Failed++
			if len(report.FirstFailures) < maxFailures {
				report.FirstFailures = append(report.FirstFailures, result.failure())
			}
		} else {
			url.LastAnswered = result.Started
		}
	}
	if len(results) > 0 {
		report.From = results[0].Started
	}
	report.Slow = len(slow)
	report.Latency = newLatencies(ordinary)
	if len(slow) > 0 {
		apart := newLatencies(slow)
		report.SlowLatency = &apart
	}
	return report
}

func (r loadResult) end() time.Time { return r.Started.Add(r.Latency) }

func (r loadResult) failure() loadFailure {
	failure := loadFailure{Time: r.Started, URL: r.URL, Status: r.Status, Body: r.Body, LatencyMS: milliseconds(r.Latency)}
	if r.Err != nil {
		failure.Error = r.Err.Error()
	}
	return failure
}

// longestFailureRun expects results in the order in which they were sent.
func longestFailureRun(results []loadResult) *failureRun {
	var longest, current *failureRun
	for _, result := range results {
		if !result.failed() {
			current = nil
			continue
		}
		if current == nil {
			current = &failureRun{From: result.Started}
		}
		current.Requests++
		if end := result.end(); end.After(current.To) {
			current.To = end
		}
		if longest == nil || current.Requests > longest.Requests {
			longest = current
		}
	}
	return longest
}

func newLatencies(values []time.Duration) latencies {
	slices.Sort(values)
	return latencies{
		P50: milliseconds(nearestRank(values, 50)),
		P99: milliseconds(nearestRank(values, 99)),
		Max: milliseconds(nearestRank(values, 100)),
	}
}

// nearestRank returns the smallest value that is not exceeded by percent of the sorted values.
func nearestRank(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

func (r loadReport) writeText(out io.Writer) {
	printf(out, "%d requests in %s, %d failed, %d slow by intention, %d connections\n",
		r.Total, r.To.Sub(r.From).Round(time.Millisecond), r.Failed, r.Slow, r.Connections)
	for _, status := range slices.Sorted(maps.Keys(r.ByStatus)) {
		printf(out, "  %s: %d\n", status, r.ByStatus[status])
	}
	for _, url := range slices.Sorted(maps.Keys(r.ByURL)) {
		counts := r.ByURL[url]
		printf(out, "%s: %d requests, %d failed, %d connections\n", url, counts.Total, counts.Failed, counts.Connections)
	}
	for _, pod := range slices.Sorted(maps.Keys(r.ByPod)) {
		printf(out, "%d answers of %s\n", r.ByPod[pod], pod)
	}
	printf(out, "latency: p50 %.3fms, p99 %.3fms, max %.3fms\n", r.Latency.P50, r.Latency.P99, r.Latency.Max)
	if r.SlowLatency != nil {
		printf(out, "slow: p50 %.3fms, p99 %.3fms, max %.3fms\n", r.SlowLatency.P50, r.SlowLatency.P99, r.SlowLatency.Max)
	}
	if r.LongestFailureRun == nil {
		return
	}
	printf(out, "longest run of failures: %d requests in %s\n",
		r.LongestFailureRun.Requests, r.LongestFailureRun.To.Sub(r.LongestFailureRun.From).Round(time.Millisecond))
	printf(out, "first failures:\n")
	for _, failure := range r.FirstFailures {
		printf(out, "  %s %s: status %d after %.3fms %s %q\n",
			failure.Time.Format(millisecondTime), failure.URL, failure.Status, failure.LatencyMS, failure.Error, failure.Body)
	}
}
