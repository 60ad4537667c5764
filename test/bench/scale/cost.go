package scale

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// Cost is what was spent, by this process as a whole: there is nothing else that it does meanwhile.
type Cost struct {
	// CPU is processor time, which tells more than time where other work keeps the machine busy.
	CPU   time.Duration `json:"cpuNanoseconds"`
	Bytes int           `json:"allocatedBytes"`
	Calls int           `json:"calls"` // to SPIRE
}

// per is a share of the cost.
func (c Cost) per(n int) PerOne {
	if n == 0 {
		return PerOne{}
	}
	return PerOne{
		CPU:   c.CPU / time.Duration(n),
		Bytes: c.Bytes / n,
		Calls: float64(c.Calls) / float64(n),
	}
}

// PerOne is the mean cost of one of many.
type PerOne struct {
	CPU   time.Duration `json:"cpuNanoseconds"`
	Bytes int           `json:"allocatedBytes"`
	Calls float64       `json:"calls"`
}

// spent is what do costs.
func spent(do func() error) (Cost, error) {
	runtime.GC() // of what was left before
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, err := ProcessorTime()
	if err != nil {
		return Cost{}, err
	}
	if err := do(); err != nil {
		return Cost{}, err
	}
	ended, err := ProcessorTime()
	if err != nil {
		return Cost{}, err
	}
	runtime.ReadMemStats(&after)
	return Cost{CPU: ended - began, Bytes: int(after.TotalAlloc - before.TotalAlloc)}, nil //nolint:gosec // far from it
}

// ProcessorTime is that of this process so far.
func ProcessorTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("reading the processor time of this process: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// held is how many bytes are in use.
func held() int {
	runtime.GC()
	runtime.GC() // what the first one has only found
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) //nolint:gosec // far from it
}
