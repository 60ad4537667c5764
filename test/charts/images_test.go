package charts

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/images"
)

func TestImageArgs(t *testing.T) {
	pushed := map[string]string{
		images.SPIREServer: "registry.test:5000/a/spire-server:1", images.SPIREAgent: images.SPIREAgent, images.CSIDriver: "registry.test/driver:2",
		images.Injector: "registry.test/injector:dev", images.Envoy: "registry.test/envoy:v1",
	}
	for chart, want := range map[string][]string{
		SPIREChart:                         {"--set", "server.image.repository=registry.test:5000/a/spire-server", "--set", "server.image.tag=1", "--set", "csi.image=registry.test/driver:2"},
		InjectorChart:                      {"--set", "image.repository=registry.test/injector", "--set", "image.tag=dev", "--set", "platform.sidecar.image=registry.test/envoy:v1"},
		"manifests/demo/charts/spire.yaml": nil,
	} {
		if diff := cmp.Diff(want, ImageArgs(chart, pushed)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", chart, diff)
		}
	}
}
