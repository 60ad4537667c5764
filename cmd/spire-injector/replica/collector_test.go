package replica

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestCollectorPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0:         400,
		1 << 20:   400,
		16 << 20:  200,
		24 << 20:  133,
		32 << 20:  100,
		48 << 20:  66,
		64 << 20:  50,
		150 << 20: 50,
	} {
		got := collectorPercent(live)
		if got != want {
			t.Errorf("with %d bytes in use: expected %d %%, got %d", live, want, got)
		}
		if more := live * uint64(got) / 100; more > max(live/2, garbage) {
			t.Errorf("with %d bytes in use: %d of garbage", live, more)
		}
	}
}

func TestCollectorPace(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	runtime.GC()
	if liveBytes() == 0 {
		t.Error("nothing is in use after a collection")
	}
	t.Setenv("GOGC", "100")
	ended := func() int {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := (CollectorPace{}).Start(ctx); err != nil {
			t.Error(err)
		}
		return debug.SetGCPercent(100)
	}
	if got := ended(); got != 100 {
		t.Errorf("where the environment says 100 it became %d", got)
	}
	if err := os.Unsetenv("GOGC"); err != nil { // Setenv restores it
		t.Fatal(err)
	}
	if got := ended(); got <= 100 {
		t.Errorf("with little in use: expected more than 100, got %d", got)
	}
}
