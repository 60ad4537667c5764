package answers

import (
	"testing"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// What the platform file explains of any container of ours is not somebody's change; a mount into one is.
func TestAlteredOf(t *testing.T) {
	t.Parallel()
	for _, name := range []string{intent.SidecarName, intent.JWTName, intent.FilesName, intent.CaptureName} {
		container := "container " + name
		for where, want := range map[string]string{
			container + ", image, args":         "",
			container + ", image, volumeMounts": container + ", volumeMounts",
		} {
			if got := alteredOf([]intent.Mistake{{Where: where}}); got != want {
				t.Errorf("%s: expected %q, got %q", where, want, got)
			}
		}
	}
	if got, want := alteredOf([]intent.Mistake{{Where: "container app, volumeMounts"}}), "container app, volumeMounts"; got != want {
		t.Errorf("expected %q, got %q", want, got)
	}
}
