package inject

import (
	"maps"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// Where it is known that a configuration fits it is not made, and the mistakes are the same as those of an injection.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		change    map[string]string
		takes     int
		generated int
		mistake   string
	}{
		{"not known", nil, 0, 1, ""},
		{"it fits", nil, maxAnnotations / 2, 0, ""},
		{"it may not fit", nil, maxAnnotations, 1, ""},
		{"it does not fit", map[string]string{"example.org/filler": strings.Repeat("x", maxAnnotations-2000)}, maxAnnotations / 2, 1,
			"expected at most 262144 bytes"},
		{"a mistake of another kind", map[string]string{intent.AnnotationAppPort: "none"}, 1, 0, intent.AnnotationAppPort},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			generated := 0
			injector := Injector{
				Platform: webhooktest.Platform(t),
				Generate: func(p ir.Proxy) (templates.Config, error) { generated++; return templates.Generate(p) },
			}
			pod := webhooktest.Server()
			maps.Copy(pod.Annotations, test.change)
			ns := intent.Namespace{Name: "demo"}
			mistakes := injector.Mistakes(ns, pod, test.takes)
			if generated != test.generated {
				t.Errorf("expected the configuration to be made %d times, got %d", test.generated, generated)
			}
			_, err := injector.Inject(ns, pod)
			wantErrorWith(t, err, test.mistake)
			if err == nil && mistakes != nil || err != nil && (len(mistakes) != 1 || !strings.Contains(err.Error(), mistakes[0].String())) {
				t.Errorf("expected the mistakes of %v, got %v", err, mistakes)
			}
		})
	}
}
