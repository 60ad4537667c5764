package charts

import (
	"context"
	"os"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/play"
)

func tellValues(_ context.Context, t play.Telling) (any, error) {
	t.Story.Say("Two charts: spire, for those who have no SPIRE yet, and spire-injector. Both make their objects from the files of the " +
		"kustomizations. An operator writes what is not as in their values.yaml:")
	lines := map[string]int{}
	for _, file := range []string{spireValues, injectorValues} {
		text, err := os.ReadFile(t.Scene.Path(file))
		if err != nil {
			return nil, err
		}
		lines[file] = strings.Count(string(text), "\n")
		t.Story.Say("%s (%d lines):", file, lines[file])
		t.Story.Came(string(text))
	}
	return struct {
		Lines map[string]int `json:"lines"`
	}{lines}, nil
}
