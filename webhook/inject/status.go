package inject

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Status is the JSON of the status annotation: what was injected, for people and for the registrar, and what the pod
// was without it, so that injection can be done again. It is of the pod's admission, and does not change while the pod
// runs.
type Status struct {
	Version  string   `json:"version"` // of the injector
	SPIFFEID string   `json:"spiffeID"`
	EntryIDs []string `json:"entryIDs"` // of the registration entries in SPIRE, one for each container with the identity
	// Deferred says that SPIRE did not answer when the pod was admitted, so that the entries came later.
	Deferred bool     `json:"deferred,omitempty"`
	Mode     string   `json:"mode"`
	Sidecar  string   `json:"sidecar,omitempty"` // Envoy's container, if there is one
	JWT      string   `json:"jwt,omitempty"`     // the container that fetches tokens and keys, if there is one
	Capture  string   `json:"capture,omitempty"` // the init container that writes the rules of a captured pod, if there is one
	Files    string   `json:"files,omitempty"`   // the container that keeps files, if there is one
	Readers  []string `json:"readers,omitempty"` // the containers that see those files
	Volumes  []string `json:"volumes"`
	// Probes are the probes, as the user wrote them, that ask Envoy now, by "container/kind".
	Probes map[string]corev1.ProbeHandler `json:"probes,omitempty"`
	// Hooks are the HTTP hooks, as the user wrote them, that ask Envoy now, by "container/kind".
	Hooks map[string]corev1.HTTPGetAction `json:"hooks,omitempty"`
	// Draining are the containers that were given a preStop hook.
	Draining []string `json:"draining,omitempty"`
	// GracePeriod is the pod's terminationGracePeriodSeconds without the time for draining.
	GracePeriod *int64 `json:"gracePeriod,omitempty"`
	// ProbeGracePeriods are terminationGracePeriodSeconds of probes without that time, by "container/kind".
	ProbeGracePeriods map[string]int64 `json:"probeGracePeriods,omitempty"`
	// UnprivilegedPorts says that the pod was given the sysctl with which Envoy binds ports below 1024.
	UnprivilegedPorts bool `json:"unprivilegedPorts,omitempty"`
	// HostAliases are the addresses of spec.hostAliases that stand for names which lead to Envoy.
	HostAliases []string `json:"hostAliases,omitempty"`
	// Envoy is what Envoy was started with. There is none in a pod without Envoy, or that an older version injected.
	Envoy *EnvoyStatus `json:"envoy,omitempty"`
	// Seal says to replicas of other versions, for a few minutes, that this is what a replica made: see [Sealing].
	Seal string `json:"seal,omitempty"`
}

// injected says whether a pod carries a status, so that it claims to come from us.
func injected(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[intent.AnnotationStatus]
	return ok
}

// StatusOf reads a pod's status. One that is not there or not understood is empty: then what it should say is missed by
// whoever compares the pod.
func StatusOf(pod *corev1.Pod) Status {
	var s Status
	if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &s); err != nil {
		return Status{}
	}
	return s
}

// writeTo writes the status of a pod.
func (s Status) writeTo(pod *corev1.Pod) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", intent.AnnotationStatus, err)
	}
	pod.Annotations = merged(pod.Annotations, map[string]string{intent.AnnotationStatus: string(text)})
	return nil
}

// admittedLike takes over what happened to be at the admission of a pod, and says nothing of what the pod is.
func (s *Status) admittedLike(before Status) {
	s.Deferred, s.Seal = before.Deferred, before.Seal
	switch {
	case before.Envoy == nil: // an older version says nothing of it
		s.Envoy = nil
	case s.Envoy != nil:
		// The configuration may have changed since, while the pod that this one is a copy of was running.
		s.Envoy.Config = before.Envoy.Config
	}
}

// sameStatus says whether two pods have the same status. A newer version may say more in it, which an older one that
// works beside it during an upgrade does not know, and has no use for.
func sameStatus(a, b *corev1.Pod, ofAnotherVersion bool) bool {
	if a.Annotations[intent.AnnotationStatus] == b.Annotations[intent.AnnotationStatus] {
		return true
	}
	return ofAnotherVersion && reflect.DeepEqual(StatusOf(a), StatusOf(b))
}

// withStatus is an injection whose pod has another status.
func withStatus(res Result, change func(*Status)) (Result, error) {
	status := StatusOf(res.Pod)
	change(&status)
	res.Pod = res.Pod.DeepCopy()
	return res, status.writeTo(res.Pod)
}

// Deferred is an injection whose registration is left to the reconciler: the pod says so.
func Deferred(res Result) (Result, error) {
	if res.Pod == nil {
		var err error
		if res, err = res.whole(); err != nil {
			return Result{}, err
		}
	}
	return withStatus(res, func(s *Status) { s.Deferred = true })
}

// hasTraces says whether a pod has parts of an injected one, as a copy of a pod has that was made without its labels
// and annotations. A gateway has nothing else.
func hasTraces(pod *corev1.Pod) bool {
	return tracesOf(pod) != ""
}

// tracesOf is the volume by which a pod has traces, empty if it has none.
func tracesOf(pod *corev1.Pod) string {
	isFilesVolume := func(v corev1.Volume) bool { return v.Name == FilesVolume }
	isUsers := func(c corev1.Container) bool { return c.Name != intent.SidecarName }
	switch {
	case slices.ContainsFunc(pod.Spec.Volumes, isConfigVolume) && slices.ContainsFunc(pod.Spec.Containers, isUsers):
		return ConfigVolume
	case slices.ContainsFunc(pod.Spec.Volumes, isFilesVolume) &&
		containerNamed(pod.Spec.InitContainers, intent.FilesName) != nil:
		return FilesVolume
	}
	return ""
}
