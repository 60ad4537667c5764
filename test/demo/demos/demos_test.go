package demos

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// TestAll sees that every demo can be named by make, that its manifests are there, and that no two are in each other's
// way.
func TestAll(t *testing.T) {
	s := scene.Scene{Root: "../../.."}
	name, step := regexp.MustCompile(`^[a-z][a-z0-9-]*$`), regexp.MustCompile(`^[a-z-]+$`)
	demos, namespaces := map[string]bool{"all": true, "down": true}, map[string]play.Demo{}
	for _, d := range All() {
		if demos[d.Name] || !name.MatchString(d.Name) {
			t.Errorf("%q: expected a name in small letters that is no other's, nor that of another target of make", d.Name)
		}
		demos[d.Name] = true
		if d.About == "" || len(d.Steps) == 0 {
			t.Errorf("%s: expected a line about it, and steps", d.Name)
		}
		for _, folder := range append([]string{d.Platform}, d.Workloads...) {
			if _, err := os.Stat(filepath.Join(s.Path(folder), "kustomization.yaml")); err != nil {
				t.Errorf("%s: %v", d.Name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(s.Path("manifests/demo"), d.Name, "README.md")); err != nil {
			t.Errorf("%s: expected a README that holds it against what it is after: %v", d.Name, err)
		}
		for _, namespace := range d.Namespaces {
			if other, taken := namespaces[namespace]; taken && !slices.Equal(d.Workloads, other.Workloads) {
				t.Errorf("%s: namespace %s is that of %s, with other workloads", d.Name, namespace, other.Name)
			}
			namespaces[namespace] = d
		}
		steps := map[string]bool{}
		for _, s := range d.Steps {
			if steps[s.Name] || !step.MatchString(s.Name) || s.Title == "" || s.Tell == nil {
				t.Errorf("%s: step %q: expected a word that is no other's, a title, and what to tell", d.Name, s.Name)
			}
			steps[s.Name] = true
		}
	}
}
