package test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeHasALineForEachFolder: README.md lists every folder once, and no other.
func TestReadmeHasALineForEachFolder(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\S").FindAllStringSubmatch(string(readme), -1) {
		listed[row[1]]++
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	for _, entry := range entries {
		if entry.IsDir() {
			there[entry.Name()]++
		}
	}
	if diff := cmp.Diff(there, listed); diff != "" {
		t.Errorf("rows of README.md, by folder (-there +listed):\n%s", diff)
	}
	if len(there) < 10 {
		t.Errorf("expected the folders of test, got %q", slices.Sorted(maps.Keys(there)))
	}
}
