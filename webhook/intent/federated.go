package intent

import (
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
)

// FederatesWith are the foreign trust domains of those pods of a namespace that name none themselves: what its
// annotation names, as far as it can be understood, or the platform's defaults.
func FederatesWith(p Platform, ns Namespace) []spiffeid.TrustDomain {
	pod := &corev1.Pod{}
	r := newReader(p, ns, pod)
	if len(r.sizeMistakes(pod)) > 0 {
		return p.FederatesWith
	}
	r.read()
	return r.FederatesWith
}
