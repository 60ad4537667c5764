package monitoring

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// folder is where the manifests are.
const folder = "../../manifests/injector/monitoring"

// programs are built when the cache lacks them.
var programs parts.Promtool

func TestMain(m *testing.M) {
	var err error
	if programs, err = findPromtool(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func findPromtool(ctx context.Context) (parts.Promtool, error) {
	cache, err := parts.UserCache()
	if err != nil {
		return parts.Promtool{}, err
	}
	return parts.EnsurePromtool(ctx, cache, os.Stderr)
}
