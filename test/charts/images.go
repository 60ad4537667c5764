package charts

import (
	"strings"

	"github.com/spire-injector/spire-injector/test/images"
)

// ImageArgs are the arguments of Helm by which a chart, one of [InjectorChart] and [SPIREChart], finds its images where
// they were pushed. References are those by the names that manifests use; for an image that has its name on the cluster
// there is no argument.
func ImageArgs(chart string, references map[string]string) []string {
	var args []string
	whole := func(value, name string) {
		if reference := references[name]; reference != "" && reference != name {
			args = append(args, "--set", value+"="+reference)
		}
	}
	parted := func(value, name string) {
		if reference := references[name]; reference != "" && reference != name {
			colon := strings.LastIndex(reference, ":")
			args = append(args, "--set", value+".repository="+reference[:colon], "--set", value+".tag="+reference[colon+1:])
		}
	}
	switch chart {
	case SPIREChart:
		parted("server.image", images.SPIREServer)
		parted("agent.image", images.SPIREAgent)
		whole("csi.image", images.CSIDriver)
		whole("csi.registrarImage", images.CSIRegistrar)
	case InjectorChart:
		parted("image", images.Injector)
		whole("platform.sidecar.image", images.Envoy)
	}
	return args
}
