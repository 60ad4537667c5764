package federation

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// shared is what all tests use. TestMain fills it once, before any test; ports are for everybody.
var shared struct {
	programs parts.Programs
	ports    standalone.Ports
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run returns the exit code. The programs are built when the cache lacks them.
func run(m *testing.M) int {
	cache, err := parts.UserCache()
	if err == nil {
		shared.programs, err = parts.Ensure(context.Background(), cache, parts.ForImages, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
