package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestFailures(t *testing.T) {
	for name, test := range map[string]struct{ log, want string }{
		"none": {"=== RUN   TestA\n    a_test.go:1: fine\n--- PASS: TestA (0.00s)\nPASS\n", ""},
		"one of two side by side": {
			"=== RUN   TestA\n=== PAUSE TestA\n=== RUN   TestB\n=== PAUSE TestB\n=== CONT  TestA\n=== CONT  TestB\n" +
				"    b_test.go:2: of B\n=== NAME  TestA\n    a_test.go:1: of A\n--- FAIL: TestA (0.00s)\n--- PASS: TestB (0.00s)\nFAIL\n",
			"\n== failed: TestA (e2e.log)\n    a_test.go:1: of A\n",
		},
		"a subtest": {
			"=== RUN   TestA\n=== RUN   TestA/x\n    a_test.go:1: of x\n=== RUN   TestA/y\n--- FAIL: TestA (0.00s)\n" +
				"    --- FAIL: TestA/x (0.00s)\n    --- PASS: TestA/y (0.00s)\nFAIL\n",
			"\n== failed: TestA/x (e2e.log)\n    a_test.go:1: of x\n",
		},
		"before any test": {"setting up the cluster: no network\nFAIL\n", "\n== failed: the program (e2e.log)\nsetting up the cluster: no network\nFAIL\n"},
		"one that the end of the program came before": {
			"=== RUN   TestA\n    a_test.go:1: of A\npanic: test timed out after 1s\n", "\n== failed: TestA (e2e.log)\n    a_test.go:1: of A\npanic: test timed out after 1s\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "e2e.log")
			if err := os.WriteFile(file, []byte(test.log), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			c := newCommand()
			c.SetArgs([]string{file})
			c.SetOut(&out)
			if err := c.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != test.want {
				t.Errorf("expected %q, got %q", test.want, got)
			}
		})
	}
}
