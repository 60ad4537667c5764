package replica

import (
	"errors"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
)

// TestLimitMemory: the runtime knows less than what the container may have, and what it knew where that is not known.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	limitMemory(logr.Discard(), func() (uint64, error) { return 0, errors.New("no cgroup") })
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("without a limit it became %d", got)
	}
	limitMemory(logr.Discard(), memlimit.Limit(256<<20))
	if got := debug.SetMemoryLimit(-1); got < 200<<20 || got > 240<<20 {
		t.Errorf("of 256 MiB the runtime knows %d bytes", got)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	limitMemory(logr.Discard(), memlimit.Limit(64<<20))
	if got := debug.SetMemoryLimit(-1); got < 200<<20 {
		t.Errorf("what the environment says is replaced by %d", got)
	}
}
