package webhook

import (
	"os"
	"strings"
	"testing"
)

func TestReferenceHasEveryAnnotationOfUsers(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range annotations {
		if a.doc == "" || a.parse != nil && a.example == "" {
			t.Errorf("%s: expected a meaning, and an example of what users write", a.key)
		}
		if a.parse == nil {
			if strings.Contains(Reference(), a.key+" ") {
				t.Errorf("%s is written by the webhook alone and yet in the reference", a.key)
			}
			continue
		}
		for name, text := range map[string]string{"the reference": Reference(), "README.md": string(readme)} {
			if !strings.Contains(text, a.key) {
				t.Errorf("%s is not in %s", a.key, name)
			}
		}
	}
}

// The examples are what people copy.
func TestExamplesAreValid(t *testing.T) {
	for _, a := range annotations {
		if a.parse == nil {
			continue
		}
		d := draft{platform: platform(t)}
		if problems := a.parse(&d, strings.Trim(a.example, `"`)); len(problems) > 0 {
			t.Errorf("%s: the example %q is refused: %v", a.key, a.example, problems[0].err)
		}
	}
}
