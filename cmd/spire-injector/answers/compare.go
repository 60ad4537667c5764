package answers

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// mostKinds bounds the pods that are kept whole to compare them: one of each kind.
const mostKinds = 1000

// podKinds keeps one whole pod of each kind.
type podKinds map[[sha256.Size]byte]*corev1.Pod

func (k podKinds) add(kind [sha256.Size]byte, pod *corev1.Pod) {
	if _, ok := k[kind]; !ok && len(k) < mostKinds && kind != ([sha256.Size]byte{}) {
		k[kind] = pod
	}
}

// compare says of pods that this version injected whether what it wrote is there as it wrote it. What follows from the
// platform file, which may have changed since, is not compared.
func (f *Facts) compare(version string, whole podKinds) {
	if f.Platform == nil || version == "" {
		return
	}
	results := map[[sha256.Size]byte]string{}
	for kind, pod := range whole {
		if inject.StatusOf(pod).Version != version {
			continue
		}
		injector := inject.Injector{
			Platform:   *f.Platform,
			Version:    version,
			Kubernetes: f.Kubernetes,
			// That of the platform file is not compared, and making it would take most of the time.
			Generate: func(ir.Proxy) (templates.Config, error) { return inject.ConfigOf(pod), nil },
		}
		_, err := injector.Validate(f.namespace(pod.Namespace), pod)
		var refusal *intent.Refusal
		switch {
		case err == nil:
			results[kind] = ""
		case errors.As(err, &refusal):
			results[kind] = alteredOf(refusal.Mistakes)
		}
	}
	for i := range f.Pods {
		altered, ok := results[f.Pods[i].kind]
		f.Pods[i].Compared, f.Pods[i].Altered = ok, altered
	}
}

// ofThePlatform are the fields of our containers that follow from the platform file or the annotations of today.
var ofThePlatform = []string{
	"image", "resources", "args", "ports", "env", "lifecycle", "startupProbe", "readinessProbe", "livenessProbe",
}

// alteredOf are the places among mistakes that neither the platform file nor an annotation explains.
func alteredOf(mistakes []intent.Mistake) string {
	var places []string
	for _, m := range mistakes {
		name, rest, _ := strings.Cut(m.Where, ", ")
		name, isContainer := strings.CutPrefix(name, "container ")
		switch {
		case !isContainer:
		case !inject.IsOurContainer(name):
			places = append(places, m.Where)
		case rest == "":
		default:
			fields := slices.DeleteFunc(strings.Split(rest, ", "), func(field string) bool { return slices.Contains(ofThePlatform, field) })
			if len(fields) > 0 {
				places = append(places, "container "+name+", "+strings.Join(fields, ", "))
			}
		}
	}
	return strings.Join(places, "; ")
}

// kindOf is equal for pods that injection made alike of templates that are alike, and zero for those that it did not
// make.
func kindOf(pod *corev1.Pod) [sha256.Size]byte {
	if pod.Labels[intent.LabelIdentity] == "" {
		return [sha256.Size]byte{}
	}
	type mounts struct {
		Name   string
		Mounts []corev1.VolumeMount
	}
	var containers []corev1.Container
	var others []mounts
	for c := range intent.ContainersOf(pod) {
		if inject.IsOurContainer(c.Name) {
			own := *c
			own.VolumeMounts = slices.Clone(c.VolumeMounts)
			for i := range own.VolumeMounts { // each pod's volume with its token has a name of its own
				if strings.HasPrefix(own.VolumeMounts[i].Name, "kube-api-access-") {
					own.VolumeMounts[i].Name = ""
				}
			}
			containers = append(containers, own)
			continue
		}
		others = append(others, mounts{c.Name, slices.DeleteFunc(slices.Clone(c.VolumeMounts), func(m corev1.VolumeMount) bool {
			return !strings.HasPrefix(m.Name, "spiffe-")
		})})
	}
	annotations := ours(pod.Annotations)
	for _, key := range intent.WrittenByWebhook() {
		if key != intent.AnnotationStatus {
			delete(annotations, key)
		}
	}
	return digestOf(pod.Namespace, shared(pod.Labels), annotations, pod.Spec.ServiceAccountName, containers, others)
}
