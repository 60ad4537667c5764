package intent

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
)

// Workloads are the identities to register: that of Envoy's container, of the one that fetches tokens and of the one that
// keeps files, and in socket mode those of the user's containers.
func (in Intent) Workloads(pod *corev1.Pod) []registrar.Workload {
	w := registrar.Workload{
		ID:             in.ID,
		Namespace:      in.Subject.Namespace,
		ServiceAccount: in.Subject.ServiceAccount,
		Attributes:     in.Attributes,
	}
	var all []registrar.Workload
	if in.Mode.Envoy() {
		w.Container = SidecarName
		all = append(all, w)
	}
	if in.Tokens() {
		w.Container = JWTName
		all = append(all, w)
	}
	if in.Mode.Files {
		w.Container = FilesName
		all = append(all, w)
	}
	if in.Mode.Socket {
		for c := range ContainersOf(pod) {
			w.Container = c.Name
			all = append(all, w)
		}
	}
	return all
}
