package intent

import (
	"fmt"
	"strings"
)

// sidecars are those of other meshes by the names of their containers, with what keeps them out of a pod.
var sidecars = []struct{ container, mesh, without string }{
	{"istio-proxy", "Istio", `the label sidecar.istio.io/inject: "false"`},
	{"linkerd-proxy", "Linkerd", "the annotation linkerd.io/inject: disabled"},
	{"consul-dataplane", "Consul", `the annotation consul.hashicorp.com/connect-inject: "false"`},
	{"kuma-sidecar", "Kuma", "the label kuma.io/sidecar-injection: disabled"},
}

// sidecarOfMesh says of what is wrong with the sidecar of another mesh what nobody can mend in its container.
func sidecarOfMesh(m Mistake) Mistake {
	for _, s := range sidecars {
		if !strings.HasPrefix(m.Where, "container "+s.container+",") {
			continue
		}
		return Mistake{
			Where: "container " + s.container,
			What:  fmt.Sprintf("is the sidecar of %s, which takes ports that Envoy needs: a pod has one of both", s.mesh),
			Hint:  fmt.Sprintf("keep it out of the pod by %s, or remove the label %s", s.without, LabelInject),
		}
	}
	return m
}
