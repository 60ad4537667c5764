package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tell keeps the state of a namespace, and what one more call of kubectl says of it. It goes to a file of the test's,
// so that what the test found wrong is the last thing that one reads; or into the log, where files of tests are not
// kept.
func tell(ctx context.Context, t *testing.T, namespace string, more ...string) {
	calls := [][]string{
		{"get", "pods", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--prefix", "--all-containers", "--selector", "app", "--tail=20"},
	}
	if len(more) > 0 {
		calls = append(calls, more)
	}
	var state strings.Builder
	for _, args := range calls {
		out, err := shared.k.Run(ctx, append(args, "--namespace", namespace)...)
		fmt.Fprintf(&state, "kubectl %s (%v)\n%s\n", strings.Join(args, " "), err, out)
	}
	if kept := flag.Lookup("test.artifacts"); kept == nil || kept.Value.String() != "true" {
		t.Log(state.String())
		return
	}
	file := filepath.Join(t.ArtifactDir(), namespace+".txt")
	if err := os.WriteFile(file, []byte(state.String()), 0o600); err != nil {
		t.Error(err)
		return
	}
	t.Logf("the pods, events and logs of namespace %s: %s", namespace, file)
}
