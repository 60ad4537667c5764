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
	if envoyPath, err = parts.EnvoyProgram(context.Background(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
