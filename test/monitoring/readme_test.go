package monitoring

import (
	"os"
	"strings"
	"testing"
)

func TestReadmeListsEveryMetric(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../manifests/injector/monitoring/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range Known() {
		name, own := strings.CutPrefix(name, Prefix)
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if own && !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("manifests/injector/monitoring/README.md does not list %s", name)
		}
	}
}
