package monitoring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readme is the document beside what is watched.
func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReadmeListsEveryMetric(t *testing.T) {
	t.Parallel()
	text := readme(t)
	for name := range Known() {
		name, own := strings.CutPrefix(name, Prefix)
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if own && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("manifests/injector/monitoring/README.md does not list %s", name)
		}
	}
}

func TestReadmeListsEveryAlert(t *testing.T) {
	t.Parallel()
	text := readme(t)
	for _, alert := range rules(t).Alerts() {
		if !strings.Contains(text, "`"+alert.Alert+"`") {
			t.Errorf("manifests/injector/monitoring/README.md does not list %s", alert.Alert)
		}
	}
}
