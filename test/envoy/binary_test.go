package envoy

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// envoyPath is the program under test, fetched when the cache lacks it.
var envoyPath string

func TestMain(m *testing.M) {
	var err error
	if envoyPath, err = findEnvoy(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// findEnvoy returns the program that ENVOY names, or else the one that the test cluster runs.
func findEnvoy(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		return path, nil
	}
	cache, err := parts.UserCache()
	if err != nil {
		return "", err
	}
	programs, err := parts.Ensure(ctx, cache, parts.ForEnvoy, os.Stderr)
	return programs.Envoy, err
}
