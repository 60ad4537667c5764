package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// part is one thing that injection adds to a pod. Its functions may be nil.
type part struct {
	// mistakes are what in the pod hinders it.
	mistakes func(injection, *corev1.Pod) []intent.Mistake
	// wanted says whether the pod gets it; nil is always.
	wanted func(injection) bool
	// add changes the pod, and notes in the status what it added and what was there before.
	add func(injection, *corev1.Pod)
	// remove undoes add, by the status of the pod. It leaves alone a pod that has not got the part.
	remove func(*corev1.Pod, Status)
	// same finds what of an injected pod is not, or not so, in the pod that arrived.
	same func(arrived, injected *corev1.Pod) []intent.Mistake
}

// parts are all that injection adds but for the status, in the order of adding. They are removed in the opposite order.
var parts = []part{
	identityPart,
	workloadAPIPart,
	probesPart,
	hooksPart,
	gatewayPart,
	drainPart,
	lowPortsPart,
	namesPart,
	sidecarPart,
	jwtPart,
	filesPart,
	capturePart,
	configurationPart,
	volumePart(ConfigVolume, configVolume),
	volumePart(JWTVolume, jwtVolume),
	volumePart(FilesVolume, filesVolume),
	volumePart(CertificateVolume, certificateVolume),
	volumePart(CAVolume, caVolume),
	volumePart(SocketVolume, socketVolume),
	{same: sameOrder},
	{mistakes: portNameMistakes},
	{mistakes: windowsMistakes},
}

// injection is what the parts of one pod are made from.
type injection struct {
	Injector
	intent intent.Intent
	config templates.Config // of no meaning without Envoy
	user   int64            // Envoy's
	status *Status          // that the parts write to
}

// mistakes are those that hinder any part.
func (i injection) mistakes(pod *corev1.Pod) []intent.Mistake {
	var all []intent.Mistake
	for _, p := range parts {
		if p.mistakes != nil {
			all = append(all, p.mistakes(i, pod)...)
		}
	}
	return all
}

// add changes a pod that has nothing of ours, and whose mistakes are none.
func (i injection) add(pod *corev1.Pod) {
	for _, p := range parts {
		if p.add != nil && (p.wanted == nil || p.wanted(i)) {
			p.add(i, pod)
		}
	}
}

// Original is an injected pod without what injection added, as far as its status tells.
func Original(pod *corev1.Pod) *corev1.Pod { return strip(pod) }

// strip returns a pod without what injection added.
func strip(pod *corev1.Pod) *corev1.Pod {
	status := StatusOf(pod)
	if !injected(pod) { // a copy of an injected pod, with any of the parts
		status.JWT, status.Files, status.Capture = intent.JWTName, intent.FilesName, intent.CaptureName
		status.HostAliases = loopbackAliases(pod)
	}
	out := pod.DeepCopy()
	for _, p := range slices.Backward(parts) {
		if p.remove != nil {
			p.remove(out, status)
		}
	}
	delete(out.Annotations, intent.AnnotationStatus)
	return out
}

// stripRunning is strip of a running pod. What a version of the injector let in that compared less stays in the pod, and
// must not hinder other changes of it.
func stripRunning(pod *corev1.Pod) *corev1.Pod {
	out := strip(pod)
	isGateway := StatusOf(pod).Mode == intent.ModeGateway.String()
	for c := range intent.ContainersOf(out) {
		if isGateway && c.Name == intent.SidecarName {
			*c = usersOwn(*c)
		}
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return isOurVolume(m.Name) })
	}
	return out
}

// altered lists what of the injected pod but its status is not, or not so, in the pod that arrived. Between two calls of a
// webhook the API server fills in defaults, and other webhooks add to the pod: not to our containers and volumes.
func altered(arrived, injected *corev1.Pod) []intent.Mistake {
	var all []intent.Mistake
	for _, p := range parts {
		if p.same == nil {
			continue
		}
		for _, m := range p.same(arrived, injected) {
			if !slices.Contains(all, m) { // several parts may be in one container
				all = append(all, m)
			}
		}
	}
	return all
}

// windowsMistakes find a pod for nodes on which none of the parts can be.
func windowsMistakes(_ injection, pod *corev1.Pod) []intent.Mistake {
	where := windowsField(pod)
	if where == "" {
		return nil
	}
	return []intent.Mistake{{
		Where: where,
		What:  "expected linux, got windows",
		Hint:  "there is no Envoy sidecar for Windows: remove the label",
	}}
}

func isAltered(where string) intent.Mistake {
	return intent.Mistake{
		Where: where,
		What:  "is not what the webhook writes for this pod",
		Hint:  "remove everything that injection added, or inject again; another webhook has to leave it alone",
	}
}
