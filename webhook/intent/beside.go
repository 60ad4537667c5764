package intent

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// noteOpenPort warns of a declared app-port that stays open beside Envoy: whoever reads the declaration calls the app past
// it. Whether the app listens on 127.0.0.1 alone cannot be seen here. A port that is declared for its name, by which
// app-port goes, and one that others close or keep open on purpose, are no news.
func (r *reader) noteOpenPort(ns Namespace, pod *corev1.Pod) {
	if !r.short || !r.Mode.Sidecar || r.Proxy.Captured || r.platform.NetworkPolicies {
		return
	}
	for _, in := range r.Proxy.Inbound {
		port, ok := declared(pod, in.App)
		switch {
		case !ok, in.App == 0, in.TLS != ir.Mutual, in.Protocol != ir.HTTP:
			continue
		case port.HostPort != 0: // which is an exception
			continue
		case slices.Contains(r.platform.PlainPorts(ns, pod), in.App):
			continue
		}
		r.Notes = append(r.Notes, Mistake{
			Where: port.where,
			What: fmt.Sprintf("port %d stays open beside Envoy: unless the app listens on 127.0.0.1 alone, plain text reaches it there",
				in.App),
			Hint: fmt.Sprintf("let it listen there alone and declare the port no more, with its number in probes that name it; or write %s: %s",
				AnnotationCapture, captureInbound),
		})
	}
}
