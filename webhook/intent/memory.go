package intent

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// memoryBound is how many bytes a container may take, zero for no limit.
func memoryBound(resources corev1.ResourceRequirements) int64 {
	return resources.Limits.Memory().Value()
}

// parseSidecarResources parses those of Envoy's container, which needs some memory to start at all.
func parseSidecarResources(p *Platform, raw json.RawMessage) []problem {
	parsed, err := parseResources(raw)
	p.Sidecar.Resources = parsed
	if limit := memoryBound(parsed); err == nil && limit != 0 && limit < ir.MinMemoryLimit {
		err = fmt.Errorf("expected a memory limit of at least %dMi for Envoy, or none, got %s",
			ir.MinMemoryLimit>>20, parsed.Limits.Memory())
	}
	return whole(err)
}

// memoryMistake is a limit of a pod, or of its namespace, that is too small. That of the platform file is checked.
func (r *reader) memoryMistake(p ir.Problem) Mistake {
	return Mistake{
		Where: r.written[AnnotationProxyResources].where(AnnotationProxyResources, ".limits.memory"),
		What:  p.Text,
	}
}
