package conformance

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// shared is what all tests use and none changes: the trust domains and their agent.
var shared *spire

// programs are SPIRE's and Envoy.
var programs parts.Programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run returns the exit code. The programs are built when the cache lacks them.
func run(m *testing.M) int {
	ctx := context.Background()
	cache, err := parts.UserCache()
	if err != nil {
		return complain(err)
	}
	programs, err = parts.Ensure(ctx, cache, parts.ForImages, os.Stderr)
	if err != nil {
		return complain(err)
	}
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return complain(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shared, err = startSPIRE(ctx, dir, programs)
	defer shared.stop()
	if err != nil {
		return complain(fmt.Errorf("%w\n%s", err, shared.output()))
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintln(os.Stderr, shared.output())
	}
	return code
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
