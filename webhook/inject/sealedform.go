package inject

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// sealedPod is what a seal is of: all that injection wrote, as the API server has it with its defaults and without what
// its own admission may add, and what of the namespace and the pod it was made from. Replicas of two versions have to
// find the same in one pod: so nothing here depends on what this version would inject. What is not in it neither
// injection looks at nor is it ours; one field of a container of ours that a later version of the API knows is in it.
type sealedPod struct {
	Namespace            string
	NamespaceLabels      map[string]string
	NamespaceAnnotations map[string]string
	Labels               map[string]string
	Annotations          map[string]string // but for the status
	Status               map[string]json.RawMessage
	Spec                 json.RawMessage
}

// ourPrefix is how the names of all containers and volumes of ours begin but for Envoy's.
const ourPrefix = "spiffe-"

// isSealedName says whether a container or a volume is sealed as a whole: what another version may add too.
func isSealedName(name string) bool {
	return IsOurContainer(name) || strings.HasPrefix(name, ourPrefix)
}

// sealedForm is the digest of what a seal is of. The error is of a pod whose status nobody wrote.
func sealedForm(ns intent.Namespace, pod *corev1.Pod, open openFields) ([sha256.Size]byte, error) {
	form := sealedPod{
		Namespace:            ns.Name,
		NamespaceLabels:      underPrefix(ns.Labels),
		NamespaceAnnotations: underPrefix(ns.Annotations),
		Labels:               underPrefix(pod.Labels),
		Annotations:          underPrefix(pod.Annotations),
	}
	if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &form.Status); err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("decoding %s: %w", intent.AnnotationStatus, err)
	}
	delete(form.Annotations, intent.AnnotationStatus)
	delete(form.Status, "seal")
	delete(form.Status, "deferred") // which comes later, and says nothing of what the pod is
	var err error
	if form.Spec, err = sortedJSON(sealedSpec(intent.SubjectOf(ns, pod), pod, open)); err != nil {
		return [sha256.Size]byte{}, err
	}
	text, err := json.Marshal(form)
	return sha256.Sum256(text), err
}

// underPrefix are those labels or annotations that are the injector's or are read by it. Labels that a template makes an
// identity of are not among them: the status says which identity that was.
func underPrefix(all map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range all {
		if strings.HasPrefix(key, intent.Prefix) {
			out[key] = value
		}
	}
	return out
}

// sortedJSON is a value of the API without the order of its fields, which may be another one in another version of the
// API. A field that is newer than one of two versions is in neither, unless somebody writes it.
func sortedJSON(v any) (json.RawMessage, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(text)
	err = value.Canonicalize(jsontext.CanonicalizeRawInts(false)) // all digits of it
	return json.RawMessage(value), err
}

func sealedSpec(who intent.Subject, pod *corev1.Pod, open openFields) corev1.PodSpec {
	spec := corev1.PodSpec{
		ServiceAccountName:            who.ServiceAccount,
		HostNetwork:                   pod.Spec.HostNetwork,
		HostPID:                       pod.Spec.HostPID,
		ShareProcessNamespace:         pod.Spec.ShareProcessNamespace,
		RestartPolicy:                 cmp.Or(pod.Spec.RestartPolicy, corev1.RestartPolicyAlways),
		HostAliases:                   pod.Spec.HostAliases,
		TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds,
		SecurityContext:               &corev1.PodSecurityContext{},
	}
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = new(int64(defaultGracePeriod))
	}
	if c := pod.Spec.SecurityContext; c != nil {
		spec.SecurityContext.RunAsUser, spec.SecurityContext.Sysctls = c.RunAsUser, c.Sysctls
	}
	if pod.Spec.Resources != nil { // which ours leave to it, whatever they are
		spec.Resources = &corev1.ResourceRequirements{}
	}
	for _, v := range pod.Spec.Volumes {
		if isSealedName(v.Name) {
			spec.Volumes = append(spec.Volumes, defaultedVolume(v))
		}
	}
	sealed := func(containers []corev1.Container) []corev1.Container {
		var out []corev1.Container
		for _, c := range containers {
			var bits byte
			if isSealedName(c.Name) {
				bits, open = open[0], open[1:]
			}
			out = append(out, sealedContainer(c, bits))
		}
		return out
	}
	spec.InitContainers = sealed(pod.Spec.InitContainers)
	spec.Containers = sealed(pod.Spec.Containers)
	return spec
}

// sealedContainer is all of a container of ours, and what injection reads of the user's or writes into them. Bits are its
// [openFields].
func sealedContainer(c corev1.Container, bits byte) corev1.Container {
	out := defaulted(c)
	if isSealedName(c.Name) {
		out.Resources.Limits = withoutOpen(out.Resources.Limits, bits, 0)
		out.Resources.Requests = withoutOpen(out.Resources.Requests, bits, 1)
		if out.ImagePullPolicy == corev1.PullAlways || out.ImagePullPolicy == defaultPullPolicy(c.Image) {
			out.ImagePullPolicy = ""
		}
		if dropsAll(out) {
			out.SecurityContext.Capabilities.Drop = []corev1.Capability{"ALL"}
		}
		return out
	}
	sealed := corev1.Container{
		Name:           out.Name,
		Ports:          out.Ports,
		StartupProbe:   out.StartupProbe,
		LivenessProbe:  out.LivenessProbe,
		ReadinessProbe: out.ReadinessProbe,
		Lifecycle:      out.Lifecycle,
		RestartPolicy:  out.RestartPolicy,
		Env: slices.DeleteFunc(out.Env, func(e corev1.EnvVar) bool {
			return !strings.HasPrefix(e.Name, "SPIFFE_")
		}),
		VolumeMounts: slices.DeleteFunc(out.VolumeMounts, func(m corev1.VolumeMount) bool { return !isSealedName(m.Name) }),
	}
	if s := out.SecurityContext; s != nil && s.RunAsUser != nil {
		sealed.SecurityContext = &corev1.SecurityContext{RunAsUser: s.RunAsUser}
	}
	return sealed
}
