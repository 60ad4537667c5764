// Package verdict concludes from what an Envoy says of its files whether it works by them.
package verdict

import (
	"maps"
	"slices"
	"time"

	"github.com/spire-injector/spire-injector/templates"
)

// Outcome is what became of a changed configuration in a pod.
type Outcome string

// The outcomes.
const (
	Pending  Outcome = "pending"  // Envoy has not read it yet
	Taken    Outcome = "taken"    // Envoy works by it
	Rejected Outcome = "rejected" // Envoy refuses it, and goes on with what it had
	Unknown  Outcome = "unknown"  // it could not be learnt in time
)

// Verdict is an outcome, with the files that were refused.
type Verdict struct {
	Outcome Outcome
	Files   []string // sorted; only of what is rejected
}

// Judge concludes from what an Envoy said of its files before a change, and what it says afterwards. All files are
// replaced at once and read at once, also those whose content stays. An Envoy that has restarted meanwhile counts
// from zero.
func Judge(before, after templates.Updates) Verdict {
	if restarted(before, after) {
		before = nil
	}
	var refused []string
	read := true
	for file, now := range after {
		was := before[file]
		if now.Refused > was.Refused {
			refused = append(refused, file)
		}
		read = read && now.Taken > was.Taken
	}
	switch {
	case len(refused) > 0:
		slices.Sort(refused)
		return Verdict{Outcome: Rejected, Files: refused}
	case read && len(after) > 0:
		return Verdict{Outcome: Taken}
	}
	return Verdict{Outcome: Pending}
}

// behind is by how much a file's last success has to be older than another one's to belong to an earlier change.
const behind = time.Second

// Standing concludes from one look at an Envoy whether what it was given last is in force: a file that was refused
// once, and was taken last long before another one, was refused last.
func Standing(now templates.Updates) Verdict {
	var newest time.Time
	for _, u := range now {
		if u.Last.After(newest) {
			newest = u.Last
		}
	}
	var refused []string
	for _, file := range slices.Sorted(maps.Keys(now)) {
		if u := now[file]; u.Refused > 0 && newest.Sub(u.Last) > behind {
			refused = append(refused, file)
		}
	}
	if len(refused) > 0 {
		return Verdict{Outcome: Rejected, Files: refused}
	}
	return Verdict{Outcome: Taken}
}

// First concludes from one look at a new Envoy how it took what it was given first: a file that was refused and never
// taken is not in force.
func First(now templates.Updates) Verdict {
	var refused []string
	read := len(now) > 0
	for _, file := range slices.Sorted(maps.Keys(now)) {
		u := now[file]
		if u.Refused > 0 && u.Taken == 0 {
			refused = append(refused, file)
		}
		read = read && u.Taken > 0
	}
	switch {
	case len(refused) > 0:
		return Verdict{Outcome: Rejected, Files: refused}
	case read:
		return Verdict{Outcome: Taken}
	}
	return Verdict{Outcome: Pending}
}

func restarted(before, after templates.Updates) bool {
	for file, was := range before {
		if now := after[file]; now.Taken < was.Taken || now.Refused < was.Refused {
			return true
		}
	}
	return false
}
