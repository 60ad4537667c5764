package replica

import (
	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
)

// memoryRatio is the part of the container's memory that the runtime collects garbage to stay within. The rest is for
// what it does not count, and for the moment that collecting takes.
const memoryRatio = 0.85

// LimitMemory tells the runtime the memory limit of the container: it would else let garbage grow to twice what is in
// use, and be killed for it. The environment variable GOMEMLIMIT says something else; without a limit there is none.
func LimitMemory(logger logr.Logger) {
	limitMemory(logger, memlimit.FromCgroup)
}

func limitMemory(logger logr.Logger, limit memlimit.Provider) {
	bytes, err := memlimit.Set(memlimit.WithRatio(memoryRatio), memlimit.WithProvider(limit))
	if err != nil {
		logger.Info("the memory limit of the container is not known", "error", err.Error())
		return
	}
	logger.V(1).Info("memory limit", "bytes", bytes)
}
