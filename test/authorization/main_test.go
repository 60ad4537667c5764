package authorization

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// shared is what all tests use. TestMain fills it once, before any test; ports are for everybody.
var shared struct {
	programs parts.Programs
	root     string // the project's top folder
	ports    standalone.Ports
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run returns the exit code. The programs are built when the cache lacks them.
func run(m *testing.M) int {
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func setUp(ctx context.Context) error {
	cache, err := parts.UserCache()
	if err != nil {
		return err
	}
	if shared.root, err = parts.Root(); err != nil {
		return err
	}
	shared.programs, err = parts.Ensure(ctx, cache, parts.ForImages, os.Stderr)
	return err
}

// manifest is the path of a file below manifests.
func manifest(path string) string {
	return filepath.Join(shared.root, "manifests", filepath.FromSlash(path))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
