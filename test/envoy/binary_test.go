package envoy

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
)

// envoyBinary is the program that ENVOY names, or else the one that the test cluster runs, from its cache.
func envoyBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("ENVOY"); path != "" {
		return path
	}
	cache, err := parts.UserCache()
	must(t, err)
	path := filepath.Join(cache.Dir, "parts", "envoy-"+parts.EnvoyVersion+"-"+runtime.GOARCH, "envoy")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("these tests need Envoy %s: let `make cluster-up` fetch it, or name the program in ENVOY: %v", parts.EnvoyVersion, err)
	}
	return path
}
