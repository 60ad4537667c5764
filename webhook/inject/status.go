package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Status is the JSON of the status annotation: what was injected, for people and for the registrar, and what the pod was
// without it, so that injection can be done again.
type Status struct {
	Version  string   `json:"version"` // of the injector
	SPIFFEID string   `json:"spiffeID"`
	EntryIDs []string `json:"entryIDs"` // of the registration entries in SPIRE, one for each container that has the identity
	// Deferred says that SPIRE did not answer when the pod was admitted, so that the entries came later.
	Deferred bool     `json:"deferred,omitempty"`
	Mode     string   `json:"mode"`
	Sidecar  string   `json:"sidecar,omitempty"` // Envoy's container, if there is one
	JWT      string   `json:"jwt,omitempty"`     // the container that fetches tokens and keys, if there is one
	Volumes  []string `json:"volumes"`
	// Probes are the probes, as the user wrote them, that ask Envoy now, by "container/kind".
	Probes map[string]corev1.ProbeHandler `json:"probes,omitempty"`
	// Draining are the containers that were given a preStop hook.
	Draining []string `json:"draining,omitempty"`
	// GracePeriod is the pod's terminationGracePeriodSeconds without the time for draining.
	GracePeriod *int64 `json:"gracePeriod,omitempty"`
}

// injected says whether a pod carries a status, so that it claims to come from us.
func injected(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[intent.AnnotationStatus]
	return ok
}

// statusOf reads a pod's status. One that is not there or not understood is empty: then what it should say is missed by whoever
// compares the pod.
func StatusOf(pod *corev1.Pod) Status {
	var s Status
	if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &s); err != nil {
		return Status{}
	}
	return s
}

// hasTraces says whether a pod has parts of an injected one, as a copy of a pod has that was made without its labels and
// annotations. A gateway has nothing else.
func hasTraces(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, isConfigVolume) &&
		slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name != intent.SidecarName })
}

func isConfigVolume(v corev1.Volume) bool {
	return v.Name == ConfigVolume && v.DownwardAPI != nil && slices.ContainsFunc(v.DownwardAPI.Items, func(item corev1.DownwardAPIVolumeFile) bool {
		return item.FieldRef != nil && item.FieldRef.FieldPath == fmt.Sprintf("metadata.annotations['%s']", intent.AnnotationBootstrap)
	})
}

func (s Status) encode() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", intent.AnnotationStatus, err)
	}
	return string(text), nil
}

// deferred is an injection whose registration is left to the reconciler: the pod says so.
func Deferred(res Result) (Result, error) {
	status := StatusOf(res.Pod)
	status.Deferred = true
	text, err := status.encode()
	if err != nil {
		return Result{}, err
	}
	res.Pod = res.Pod.DeepCopy()
	res.Pod.Annotations[intent.AnnotationStatus] = text
	return res, nil
}

// strip returns a pod without what injection added.
func strip(pod *corev1.Pod) *corev1.Pod {
	status := StatusOf(pod)
	out := pod.DeepCopy()
	delete(out.Labels, intent.LabelIdentity)
	maps.DeleteFunc(out.Annotations, func(key, _ string) bool { return slices.Contains(intent.WrittenByWebhook(), key) })
	if status.Mode == intent.ModeGateway.String() {
		unfillGateway(out)
	} else {
		isSidecar := func(c corev1.Container) bool { return c.Name == intent.SidecarName }
		out.Spec.InitContainers = slices.DeleteFunc(out.Spec.InitContainers, isSidecar)
		out.Spec.Containers = slices.DeleteFunc(out.Spec.Containers, isSidecar)
	}
	// A pod without a status is a copy of an injected one.
	if status.JWT != "" || !injected(pod) {
		removeJWT(out)
	}
	out.Spec.Volumes = slices.DeleteFunc(out.Spec.Volumes, func(v corev1.Volume) bool { return isOurVolume(v.Name) })
	for c := range intent.ContainersOf(out) {
		removeWorkloadAPI(c)
		restoreProbes(c, status.Probes)
		if slices.Contains(status.Draining, c.Name) {
			removeDrain(c)
		}
	}
	if len(status.Draining) > 0 {
		out.Spec.TerminationGracePeriodSeconds = status.GracePeriod
	}
	return out
}

func isOurVolume(name string) bool {
	return name == ConfigVolume || name == SocketVolume || name == JWTVolume || name == CertificateVolume
}
