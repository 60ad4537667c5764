package replica

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The runtime collects garbage when there is as much of it as is in use. A replica uses little, and each admission makes
// hundreds of kilobytes: it would spend a sixth of its time collecting. So garbage may be more, but never more than
// this. Where much is in use it may be half of that: ten thousand pods fit into a replica with room to spare.
// [LimitMemory] stays in force.
const (
	garbage      = 32 << 20
	mostPercent  = 400
	leastPercent = 50
)

// paceInterval is how often it is looked at how much is in use. It changes slowly.
const paceInterval = 10 * time.Second

// CollectorPace has the runtime collect garbage less often while a replica uses little memory. It is a Runnable of every
// replica. The environment variable GOGC says something else.
type CollectorPace struct{}

// NeedLeaderElection implements the manager's LeaderElectionRunnable.
func (CollectorPace) NeedLeaderElection() bool { return false }

// Start implements the manager's Runnable.
func (CollectorPace) Start(ctx context.Context) error {
	if _, set := os.LookupEnv("GOGC"); set {
		<-ctx.Done()
		return nil
	}
	look := time.NewTicker(paceInterval)
	defer look.Stop()
	for percent := 0; ; {
		if now := collectorPercent(liveBytes()); now != percent {
			percent = now
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// collectorPercent is how much garbage there may be, in percent of what is in use.
func collectorPercent(live uint64) int {
	if live == 0 { // nobody knows before the first collection
		return mostPercent
	}
	return int(min(max(garbage*100/live, leastPercent), mostPercent)) //nolint:gosec // at most 400
}

// liveBytes are what the last collection found in use.
func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
